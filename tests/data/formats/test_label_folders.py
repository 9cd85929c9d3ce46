"""ADE20K's layout of scene parsing: photos and label maps in folders beside each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError
from diptych.data.load import open_data
from tests.support.ade_folder import CLASSES, ade_folder


def test_photos_and_maps_of_each_split_belong_together(tmp_path: Path) -> None:
    data = open_data(ade_folder(tmp_path / "ade"), need="masks")
    assert data.classes == ("red", "green", "blue", "yellow")
    assert data.words == (("red", "scarlet"), ("green",), ("blue",), ("yellow",))
    assert {name: len(table) for name, table in data.splits.items()} == {"train": 2, "val": 4}
    table = data.split("val")
    for i in range(4):
        photo, mask = np.asarray(table.items[i]), table.columns["mask"].values[i]
        assert mask.shape == photo.shape[:2]
        assert set(np.unique(mask)) <= {0, 1, 2, 255}  # the border is of no class
    assert open_data(tmp_path / "ade", need="masks", void=(1,)).classes == ("green", "blue", "yellow")


def test_classes_may_stand_in_a_table_and_maps_have_sixteen_bits(tmp_path: Path) -> None:
    root = ade_folder(tmp_path / "ade", count=847)
    data = open_data(root, need="masks")
    assert len(data.classes) == 847
    masks = [m for t in data.splits.values() for m in t.columns["mask"].values]
    assert {m.dtype for m in masks} == {np.dtype(np.uint16)}
    assert {int(v) for m in masks for v in np.unique(m)} <= {600, 601, 602, 65535}


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    root = ade_folder(tmp_path / "ade")
    (gone, *_) = sorted((root / "annotations" / "validation").iterdir())
    gone.unlink()
    with pytest.raises(DataError, match=r"has no label map: add .*validation"):
        open_data(root, need="masks")
    for text in ("Idx,Name\n1,red\n", "Idx\tName\none\tred\n", "Idx\tName\n1\tred\n1\tgreen\n", ""):
        (root / "objectInfo150.txt").write_text(text)
        with pytest.raises(DataError, match="mend it"):
            open_data(root, need="masks")
    (root / "objectInfo150.txt").write_text(CLASSES)
    bare = tmp_path / "bare"
    for name in ("images/other", "annotations"):
        (bare / name).mkdir(parents=True)
    (bare / "objectInfo150.txt").write_text(CLASSES)
    Image.new("RGB", (4, 4)).save(bare / "images/other/a.png")
    with pytest.raises(DataError, match="no photos in folders such as training"):
        open_data(bare, need="masks")
