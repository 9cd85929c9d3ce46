from __future__ import annotations

from pathlib import Path

import pytest

import diptych
from diptych.core import UsageError
from tests.evaluation.boards.test_rows import clips


def test_python_measures_extenders_on_clips(tmp_path: Path) -> None:
    clips(tmp_path)
    board = diptych.board.extend(tmp_path / "clips", names="green, red", methods="frame-mean", seeds=1, frames=2)
    assert {row.label: row.value.value for row in board}["frame-mean"] == 1
    assert board.data["frames"] == 2


def test_names_and_frames_are_checked(tmp_path: Path) -> None:
    clips(tmp_path)
    with pytest.raises(UsageError, match="3 names for 2 classes"):
        diptych.board.extend("clips", names="red, green, blue")
    with pytest.raises(UsageError, match="frames= must be"):
        diptych.board.extend("clips", frames=0)
