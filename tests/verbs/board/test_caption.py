from __future__ import annotations

from pathlib import Path

import pytest

import diptych
from diptych.core import UsageError
from tests.evaluation.boards.test_rows import captions
from tests.support.backbone import SmallBackbone


def test_python_measures_captioners_with_a_loaded_judge(tmp_path: Path) -> None:
    captions(tmp_path)
    texts = ["a red thing", "a blue thing", "a green thing"]
    judge = SmallBackbone()
    board = diptych.board.caption("captions.csv", methods="nearest-caption", seeds=1, texts=texts, judge=judge)
    assert [row.label for row in board] == ["nearest-caption"]
    assert "clip_score" in board.columns
    assert board.data["sentences"] == len(texts)


def test_an_unknown_system_is_named_before_photos_are_opened() -> None:
    with pytest.raises(UsageError, match="gda"):
        diptych.board.caption("nowhere.csv", methods=["gda"])
