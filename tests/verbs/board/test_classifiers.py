from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diptych.verbs.answer import Shown
from diptych.verbs.board.classifiers import Classifiers, called, encoding, tables_of

ROW: dict[str, Any] = {
    "method": "gda", "variant": "", "shots": 4, "metrics": {"acc1": 0.5, "ece": 0.1}, "ci95": {"acc1": [0.4, 0.6]},
    "gain": {"acc1": 0.125}, "p_holm": 0.0004, "seconds": {"fit": 1.0, "predict": 0.5}, "images": 8, "extra_texts": 0,
}  # fmt: skip
BOARD: dict[str, Any] = {
    "dataset": "clothes", "items": 10, "measured": "test", "classnames": ["a", "b"], "spec": {"name": "lite"},
    "rows": [ROW], "missing": {"FuDD": "It needs texts.", "FuDD, top 3": "It needs texts."}, "late": {}, "choice": None,
    "encode": {"images": 0.0, "image_seconds": 0.0, "text_seconds": 0.25}, "device": "cpu", "precision": "fp32",
}  # fmt: skip
CHOICE: dict[str, Any] = {
    "method": "gda", "variant": "", "shots": 4, "chosen_on": {"acc1": 0.75, "items": 40.0, "seen_by_fit": False},
    "test": {"acc1": 0.5, "ci95": [0.4, 0.6]},
}  # fmt: skip


def test_a_board_as_written_is_shown_with_what_is_missing_once_a_reason() -> None:
    table, *lines = tables_of(BOARD)
    assert isinstance(table, Shown)
    assert table.rows[0] == ("gda, 4 shots", "50.0 (40-60)", "+12.5", "<.001", "10", "1.0+0.5", "8 photos")
    assert table.title == "clothes: 10 test photos, 2 classes, lite"
    assert lines[0] == "FuDD; FuDD, top 3: It needs texts."
    assert lines[1] == "No recommendation: there is no val or train split to choose on."


def test_the_recommendation_says_on_what_it_was_chosen_and_what_it_reached() -> None:
    chosen, reached = tables_of({**BOARD, "missing": {}, "choice": CHOICE})[1:]
    assert chosen == "Recommended: gda, 4 shots: 75.0 % of 40 photos apart from test, seen by no system."
    assert reached == "On test it reached 50.0 % (40.0-60.0)."


def test_a_board_that_measured_val_does_not_speak_of_test() -> None:
    board = {**BOARD, "missing": {}, "measured": "val"}
    table, *lines = tables_of({**board, "choice": CHOICE})
    assert isinstance(table, Shown)
    assert table.title == "clothes: 10 val photos, 2 classes, lite"
    assert lines == [
        "Recommended: gda, 4 shots: 75.0 % of 40 photos apart from val, seen by no system.",
        "On val it reached 50.0 % (40.0-60.0).",
    ]
    assert tables_of(board)[1:] == ["No recommendation: there is no train split to choose on."]


def test_an_earlier_model_is_not_taken_for_what_was_asked_for(tmp_path: Path) -> None:
    """A failed system left no word of its export, and an older model in the folder was shown as its own."""

    def line(export: str, **board: Any) -> str:
        shown = Classifiers([], [{**BOARD, **board}], tmp_path, [], several=False, export=export).tables()
        (one,) = (part for part in shown if isinstance(part, str) and ("exported" in part or "--model" in part))
        return one

    model = tmp_path / "model"
    assert line("gda") == f"{model}: diptych classify PHOTOS --model {model}"
    assert line("best", choice=CHOICE) == f"{model}: diptych classify PHOTOS --model {model}"
    assert line("coop") == "Nothing was exported: no row of coop is finished."
    assert line("gda", rows=[{**ROW, "fitted": {"folder": "x"}}]) == "Nothing was exported: no row of gda is finished."
    model.mkdir()
    assert line("best") == f"Nothing was exported: there is no recommendation. {model} is of an earlier run."


@pytest.mark.parametrize(
    ("words", "name"), [(("gda", "", 0), "gda"), (("gda", "x", 1), "gda, x, 1 shot"), (("a", "", 2), "a, 2 shots")]
)
def test_short_names(words: tuple[str, str, int], name: str) -> None:
    assert called(*words) == name


def test_one_line_about_encoding() -> None:
    assert encoding(BOARD) == "lite on cpu, fp32: all images from the cache; texts 0.2 s"
