from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def short_grammar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train the grammar head of CLIP-Reward for 30 steps instead of 600: promises hold at any length."""
    monkeypatch.setattr("diptych.methods.caption.clip_reward.GRAMMAR_STEPS", 30)
