"""Proof of swapped words, on captions of colours."""

from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import Run
from diptych.methods.audit import clip4dm
from proofs.benches.audits import pairs as audit_pairs
from proofs.prove import prove
from tests.support.deep_backbone import DeepBackbone

SEEDS = (1, 2, 3, 4, 5)


def test_swapped_words_are_counted(captioned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_pairs, "CLIP4DM", lambda choice: clip4dm.CLIP4DM(choice, layers=2))
    (found,) = prove("clip4dm", DeepBackbone(), Run(), datasets=(str(captioned),), seeds=SEEDS).as_dict()["datasets"]
    assert found["items"] == 12
    beside = {twin["name"]: twin for twin in found["beside"]}
    assert beside["a word at random"]["twin"]["la"] == pytest.approx(1 / 7, abs=0.03)
    assert found["claims"][0]["baseline"]["la"] == pytest.approx(0.5)
    assert found["claims"][0]["over"] == found["controls"][0]["over"], "claim and control have one base"
    assert set(found["average_precision"]) == {"CLIPScore", "F-CLIPScore"}
    assert 0 <= found["controls"][0]["control"]["la"] <= 1
