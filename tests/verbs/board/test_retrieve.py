from __future__ import annotations

from pathlib import Path

import pytest

import diptych
from diptych.core import DataError, UsageError
from diptych.evaluation.boards.retrieve import SLOW
from diptych.verbs.board.retrieve import BoardRetrieve
from tests.evaluation.boards.test_rows import records


def test_python_measures_retrievers_on_records_of_entities(tmp_path: Path) -> None:
    records(tmp_path)
    board = diptych.board.retrieve(tmp_path / "records.csv", methods="string-matching", seeds=1, text="text")
    assert {row.arm.system for row in board} == {"clippings", "chance", "string-matching"}
    assert board.data["entities"] == 5
    with pytest.raises((DataError, UsageError), match="nothing"):
        diptych.board.retrieve(tmp_path / "records.csv", entity="nothing")


def test_retrievers_that_train_a_tower_run_where_they_are_named() -> None:
    assert tuple(BoardRetrieve(data="x").without()) == SLOW
