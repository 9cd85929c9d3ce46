"""What all boards share: their plain data and table, and the folder that another board may not write over."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from diptych.core import UnreadableItem, UsageError
from diptych.evaluation.board import BoardOf, expect
from diptych.evaluation.boards.verb import verb_board
from tests.evaluation.boards.test_verb import NEAR, OWN, PLAIN, SMALL, Known


@dataclass(frozen=True)
class Numbers(BoardOf[int]):
    """A board whose rows are numbers, of which odd ones have a further column."""

    def row(self, row: int) -> dict[str, Any]:
        """Return the number and its half."""
        return {"number": row, "half": float("nan") if row % 2 else row / 2}

    def lines(self, row: int) -> list[dict[str, Any]]:
        """Return one line."""
        return [{"number": row, **({"odd": True} if row % 2 else {})}]


def numbers(**changes: Any) -> Numbers:
    facts = {"dataset": "known", "data_hash": "a"}
    return Numbers(**{
        "verb": "count", "rows": (2, 3), "missing": {"4": "none", "5": "none"}, "late": {}, "interrupted": False,
        "failed": (UnreadableItem("x.png", "is broken"),), "facts": facts, **changes,
    })  # fmt: skip


def test_a_board_is_two_files_and_says_what_is_missing(tmp_path: Path) -> None:
    board = numbers()
    board.write(tmp_path)
    assert json.loads((tmp_path / "board.json").read_text()) == board.as_dict()
    assert board.as_dict()["rows"] == [{"number": 2, "half": 1.0}, {"number": 3, "half": None}]
    assert (board.complete, board.as_dict()["skipped"]) == (True, ["x.png: is broken"])
    assert board.reasons() == {"none": ["4", "5"]}
    with (tmp_path / "board.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["number", "odd"], ["2", ""], ["3", "True"]]
    with pytest.raises(UsageError, match="exists"):
        board.write(tmp_path)
    assert not numbers(late={"6": "the budget was spent"}).complete
    assert not numbers(interrupted=True).complete


def test_a_whole_board_is_gone_on_with_where_its_files_or_its_source_are_the_same(tmp_path: Path) -> None:
    expect(tmp_path, "count", whole=True)
    numbers(facts={"source": "here", "data_hash": "a"}).write(tmp_path)
    for facts in ({"source": "here", "data_hash": "b"}, {"source": "there", "data_hash": "a"}):
        expect(tmp_path, "count", facts, whole=True)
    with pytest.raises(UsageError, match="is a board of here, not there"):
        expect(tmp_path, "count", {"source": "there", "data_hash": "b"}, whole=True)
    (tmp_path / "board.json").write_text("[]")
    with pytest.raises(UsageError, match="is no board"):
        expect(tmp_path, "count", whole=True)


def test_a_board_that_was_cut_short_is_gone_on_with_and_a_whole_one_is_not(tmp_path: Path) -> None:
    bench = Known({NEAR: PLAIN, SMALL: KeyboardInterrupt()})
    verb_board("caption", bench, [SMALL], keep=tmp_path).write(tmp_path)
    expect(tmp_path, "caption", bench.facts)
    with pytest.raises(UsageError, match="is a board of caption"):
        expect(tmp_path, "segment")
    with pytest.raises(UsageError, match="is a board of known, not other"):
        expect(tmp_path, "caption", {"dataset": "other"})
    with pytest.raises(UsageError, match="have changed since"):
        expect(tmp_path, "caption", {"dataset": "known", "data_hash": "new"})
    again = Known({NEAR: KeyError("is read"), SMALL: OWN})
    again.values[NEAR] = PLAIN
    finished_board = verb_board("caption", again, [SMALL], keep=tmp_path)
    assert (again.asked, [row.label for row in finished_board.rows]) == (
        [NEAR, SMALL],
        ["maccap:small", "nearest-caption"],
    )
    finished_board.write(tmp_path, overwrite=True)
    with pytest.raises(UsageError, match="exists"):
        expect(tmp_path, "caption", bench.facts)
    (tmp_path / "board.json").write_text("{")
    with pytest.raises(UsageError, match="exists"):
        expect(tmp_path, "caption")
