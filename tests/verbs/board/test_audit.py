from __future__ import annotations

from pathlib import Path

import pytest

import diptych
from diptych.core import DataError, UsageError
from tests.support.colours import ColourBackbone, colour_folder


def test_python_compares_backbones_by_their_findings(tmp_path: Path) -> None:
    data = colour_folder(tmp_path / "set", {"test": 6})
    with pytest.warns(UserWarning, match="Not testable here: 1 of 15 measures"):
        board = diptych.board.audit(data, against=["tiny"], only="holistic-robustness", out="b")
    assert board.item_names == ("lite", "tiny")
    assert "0 of them differ" in board.lines[1]  # both know colours alike
    table = board.to_pandas()
    assert "holistic-robustness_accuracy" in table
    assert (tmp_path / "b" / "board.csv").is_file()


def test_one_backbone_or_a_loaded_one_is_refused() -> None:
    with pytest.raises(UsageError, match="at least two backbones: give another one with against="):
        diptych.board.audit("nowhere")
    with pytest.raises(UsageError, match="against= names backbones, not a ColourBackbone"):
        diptych.board.audit("nowhere", against=[ColourBackbone()])


def test_what_nothing_can_be_tested_on_is_an_error(tmp_path: Path) -> None:
    data = colour_folder(tmp_path / "set", {"test": 2})
    with pytest.warns(UserWarning, match="counteranimal was not run"), pytest.raises(DataError, match="Nothing could"):
        diptych.board.audit(data, against="tiny", only="counteranimal")
