"""Thresholds of classes in Python."""

from __future__ import annotations

from pathlib import Path

import pytest

import diptych
from diptych.core import UsageError
from tests.support.colours import COLOURS, colour_folder


def test_each_class_has_a_threshold_and_what_is_reached_stands_beside(tmp_path: Path) -> None:
    names = sorted(COLOURS)
    colour_folder(tmp_path / "d", {"": 6}, names)
    rows = [f"d/{name}/{i}.png,{name};{names[i % 5]}" for name in names for i in range(6)]
    table = tmp_path / "photos.csv"
    table.write_text("\n".join(["path,labels", *rows]))
    result = diptych.board.several_labels(table)
    assert [row.name for row in result] == names
    assert result.data["thresholds"] == {row.name: row.threshold for row in result}
    assert (result.data["chosen_on"], result.data["items"]) == (15, 15)
    with pytest.raises(UsageError, match="gda learns from photos: give a classifier that sees none"):
        diptych.board.several_labels(table, method="gda")
    with pytest.raises(UsageError, match="An empty separator= separates no labels"):
        diptych.board.several_labels(table, separator="")
