"""The few-shot protocol in Python: every part as rows, and a folder from which the same call goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

import diptych
from diptych.core import UsageError
from tests.support.colours import COLOURS, colour_folder

PARTS = {"train": 4, "test": 3}


def test_rows_are_systems_in_places_and_the_page_is_written(tmp_path: Path) -> None:
    data, other = (colour_folder(tmp_path / name, PARTS) for name in ("near", "far"))
    words = {"methods": "zero-shot,gda", "shots": (1, 2), "seeds": 1}
    result = diptych.board.few_shot(data, "out", cross=other, shifted=[other], **words)  # type: ignore[arg-type]
    assert {reach.kind for reach in result} == {"base", "new", "cross", "shift"}
    assert (len(result), result.data["kind"]) == (len(result.data["reaches"]), "protocol")
    assert {row["shots"] for row in result.data["board"]["rows"]} >= {1, 2}
    assert Path("out/protocol.html").is_file()
    again = diptych.board.few_shot(data, "out", cross=other, shifted=[other], **words)  # type: ignore[arg-type]
    assert again.data["reaches"] == result.data["reaches"]


def test_too_few_classes_are_refused(tmp_path: Path) -> None:
    data = colour_folder(tmp_path / "few", PARTS, sorted(COLOURS)[:3])
    with pytest.raises(UsageError, match="few has 3 classes: base and new need at least 2 each"):
        diptych.board.few_shot(data, "out", shots=1, seeds=1)
