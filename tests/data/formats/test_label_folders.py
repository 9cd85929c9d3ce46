"""ADE20K's layout of scene parsing: photos and label maps in folders beside each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError
from diptych.data.load import open_data
from tests.support.dense_colours import halves

NAMES = ("red", "green", "blue", "yellow")
CLASSES = "Idx\tRatio\tTrain\tVal\tName\n" + "".join(
    f"{k}\t0.1\t10\t10\t{name}\n" for k, name in enumerate(("red, scarlet", *NAMES[1:]), start=1)
)


def ade_folder(root: Path, count: int = 0) -> Path:
    """Write two photos for training and four for validation, 60 x 40, whose outer pixels are of no class (0).

    Args:
        root: new.
        count: number of classes, of which the colours are the 601st to the 604th, in ``classes.csv`` and with maps of
            16 bits; 0: the four colours, in ``objectInfo150.txt``.
    """
    first = 600 if count else 0
    pairs = [(a, b) for a in range(3) for b in range(3) if a != b]
    for i, (left, right) in enumerate(pairs):
        split = "training" if i < 2 else "validation"
        for name in ("images", "annotations"):
            (root / name / split).mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(i).normal(0, 10, (40, 60, 3))
        picture = np.asarray(halves(NAMES[left], NAMES[right])) + noise
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(root / "images" / split / f"{i}.jpg", quality=95)
        values = np.where(np.arange(60) < 30, left + 1, right + 1) * np.ones((40, 1), int) + first
        values[0] = values[-1] = 0
        mask = Image.fromarray(values.astype(np.uint16 if count else np.uint8))
        mask.save(root / "annotations" / split / f"{i}.{'tif' if count else 'png'}")
    if count:
        names = [*(f"thing {k}" for k in range(first)), *NAMES, *(f"stuff {k}" for k in range(first + 4, count))]
        (root / "classes.csv").write_text("value,name\n" + "".join(f"{k},{n}\n" for k, n in enumerate(names, 1)))
    else:
        (root / "objectInfo150.txt").write_text(CLASSES)
    return root


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
