from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diptych.core import DataError, MissingEvidence, Run
from diptych.evaluation.arms import MEANS, Arm, Measured
from diptych.evaluation.boards.verb import verb_board
from diptych.verbs.answer import Shown
from diptych.verbs.board.measured import INTERRUPTED, BoardRows
from tests.support.colours import ColourBackbone

BASE, OTHER, ABSENT = Arm("nearest-caption"), Arm("maccap", "small"), Arm("astrom3")


class Known:
    """A bench of two rows with known values; a third one cannot run, and a fourth is interrupted."""

    metric, statistic, always, failed, seeds = "acc1", MEANS, (BASE,), (), (1, 2)

    def __init__(self, stop: bool = False) -> None:
        self.facts = {"dataset": "known", "items": 4, "backbone": "colours"}
        self.backbone, self.run, self.stop = ColourBackbone(), Run(), stop

    def measure(self, arm: Arm) -> Measured:
        if arm == ABSENT:
            raise KeyboardInterrupt if self.stop else MissingEvidence("It needs x: give it.")
        hits = [[1, 0, 0, 0], [0, 1, 0, 0]] if arm == BASE else [[1, 1, 1, 0], [1, 1, 0, 1]]
        return Measured(np.array(hits, dtype=float), {"fit_seconds": 2.0, "eer": 0.25}, (1, 2))


class Unfit(Known):
    """The same bench where no row can run."""

    def measure(self, arm: Arm) -> Measured:
        raise MissingEvidence("It needs x: give it.")


def answer(out: Path | None = None, stop: bool = False) -> BoardRows:
    return BoardRows(verb_board("caption", Known(stop), [OTHER, BASE, ABSENT]), out, ["noted"])


def test_the_table_has_intervals_gains_and_further_numbers(tmp_path: Path) -> None:
    table, path = answer(tmp_path).tables()
    assert isinstance(table, Shown)
    assert list(table.columns) == ["system", "top-1 % (95 %)", "gain", "fit s", "EER %", "s"]
    best, base = table.rows
    assert (best[0], best[1][:5], best[2][:6], *best[3:5]) == ("maccap:small", "75.0 ", "+50.0 ", "2.0", "25.0")
    assert base[2] == ""
    assert path == str(tmp_path / "board.json")
    assert "gain over nearest-caption" in table.title
    assert list(table.spare) == [5, 4, 3]  # the further numbers first, where the window is narrow


def test_what_did_not_run_is_a_remark_on_every_face() -> None:
    result = answer()
    assert result.remarks(list(result)) == ["noted", "astrom3 did not run: It needs x: give it."]
    assert result.exit_code == 0
    data = result.data([], ["said"])
    assert (data["kind"], data["missing"], data["remarks"]) == ("board", {"astrom3": "It needs x: give it."}, ["said"])


def test_a_board_without_a_row_is_an_error_with_its_reasons() -> None:
    """It exited with 0, so a script took nothing for a result."""
    nothing = BoardRows(verb_board("caption", Unfit(), [BASE, ABSENT]), None).verdict()
    assert isinstance(nothing, DataError)
    assert str(nothing) == "Nothing could be measured on known: It needs x: give it."
    assert answer().verdict() is None
    assert answer(stop=True).verdict() is None


def test_an_interrupted_board_says_so_and_ends_with_130() -> None:
    result = answer(stop=True)
    assert result.remarks(list(result))[-1] == INTERRUPTED
    assert result.exit_code == 130


def test_columns_of_a_table() -> None:
    result = answer()
    rows = list(result)
    columns = result.columns(rows)
    assert columns["acc1"] == [0.75, 0.25]
    assert columns["gain"] == [pytest.approx(0.5), None]
    assert columns["eer"] == [0.25, 0.25]
    assert result.line(rows[0]).startswith("top-1 % 75.0 (")
