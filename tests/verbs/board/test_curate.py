from __future__ import annotations

from pathlib import Path

import pytest

import diptych
from diptych.core import UsageError
from tests.evaluation.boards.test_rows import captions


def test_python_measures_curators_on_swapped_captions(tmp_path: Path) -> None:
    captions(tmp_path)
    board = diptych.board.curate("captions.csv", methods="clip-score", metadata="names.txt", seeds=[1], keep=0.4)
    rows = {row.label: row.value.value for row in board}
    assert rows["clip-score"] == max(rows.values())
    assert (board.data["metric"], board.data["seeds"]) == ("precision", [1])


def test_shares_out_of_range_are_refused(tmp_path: Path) -> None:
    captions(tmp_path)
    with pytest.raises(UsageError, match="keep"):
        diptych.board.curate("captions.csv", methods="clip-score", keep=1.5)
