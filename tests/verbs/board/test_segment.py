from __future__ import annotations

from functools import partialmethod
from pathlib import Path

import pytest

import diptych
from diptych.core import DataError, UsageError
from diptych.methods.segment.maskclip import MaskCLIP
from diptych.nn.dense.label_maps import Windows
from tests.support.dense_colours import DenseColours, masked_folder


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: DenseColours(name=name))
    monkeypatch.setattr(MaskCLIP, "__init__", partialmethod(MaskCLIP.__init__, windows=Windows(40, 40, 20)))
    return masked_folder(tmp_path / "set")


def test_python_measures_segmenters_on_some_photos_and_a_fitted_one_from_its_folder(photos: Path) -> None:
    board = diptych.board.segment(photos, methods="maskclip", seeds=1, items=2)
    rows = {row.label: row.value.value for row in board}
    assert rows["maskclip"] > rows["chance"]
    assert (board.data["items"], board.data["verb"]) == (2, "segment")
    names = ["red", "green", "blue", "yellow"]
    diptych.segment(photos / "0.png", names, method="maskclip", fitted="kept")
    with_folder = diptych.board.segment(photos, fitted="kept", seeds=1, items=2)
    loaded = next(row for row in with_folder.data["rows"] if "fitted" in row)
    assert loaded["miou"] == rows["maskclip"]
    assert loaded["fitted"]["folder"] == "kept"


def test_ranges_are_checked_before_anything_is_opened() -> None:
    with pytest.raises(UsageError, match="items= must be"):
        diptych.board.segment("nowhere", items=0)
    with pytest.raises(UsageError, match="threshold= must be"):
        diptych.board.segment("nowhere", threshold=1.5)
    with pytest.raises(UsageError, match="void=: Whole numbers with commas"):
        diptych.board.segment("nowhere", void="sky")


def test_many_void_pixels_are_said(photos: Path) -> None:
    lines = (photos / "classes.csv").read_text().splitlines()
    with pytest.warns(UserWarning, match=r"% of the pixels are void: they have no class, and do not count"):
        board = diptych.board.segment(photos, methods="maskclip", seeds=1, void=[int(lines[1].split(",")[0])])
    assert board.data["items"] > 0


def test_a_folder_without_tables_is_refused_with_their_columns(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match=r"\(labels\.csv: path, mask; classes\.csv: value, name\)"):
        diptych.board.segment(tmp_path)
