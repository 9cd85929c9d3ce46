"""Boxes of a table beside pictures, and in the frame of a tower."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError, PixelRecipe, Table
from diptych.data.folders import ImageFiles
from diptych.data.formats.region_table import with_regions
from diptych.data.formats.regions import framed
from diptych.data.labelled import LabelledData
from diptych.data.pixels import fit


@pytest.mark.parametrize("resize", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("size", [(120, 80), (60, 90), (64, 64)])
def test_a_box_lies_where_its_pixels_are_seen(resize, size) -> None:
    recipe = PixelRecipe(64, (0.5,) * 3, (0.5,) * 3, resize=resize, crop=0.8 if resize == "squash" else 1.0)
    box = np.array([[0.4 * size[0], 0.3 * size[1], 0.6 * size[0], 0.7 * size[1]]]).round()
    picture = Image.new("RGB", size)
    picture.paste("white", tuple(box[0].astype(int).tolist()))
    seen = np.asarray(fit(picture, recipe))[..., 0] > 127
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    expected = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / 64
    found, share = framed(box, size, recipe)
    np.testing.assert_allclose(found[0], expected, atol=1.5 / 64)
    assert share[0] == pytest.approx(1.0)


def test_what_the_crop_hides_is_told() -> None:
    recipe = PixelRecipe(20, (0.5,) * 3, (0.5,) * 3, resize="shortest")
    found, share = framed(np.array([[0, 0, 15, 20], [0, 0, 5, 20], [12, 3, 12, 9]]), (40, 20), recipe)
    np.testing.assert_allclose(share, [1 / 3, 0, 0])
    np.testing.assert_allclose(found[0], [0, 0, 0.25, 1])


def data(folder: Path) -> LabelledData:
    for name in ("a", "b"):
        Image.new("RGB", (10, 10)).save(folder / f"{name}.png")
    return LabelledData("photos", (), {"test": Table(ImageFiles([str(folder / f"{n}.png") for n in "ab"]))})


def write(folder: Path, text: str) -> Path:
    (folder / "boxes.csv").write_text(text)
    return folder / "boxes.csv"


def test_rows_go_to_their_pictures(tmp_path: Path) -> None:
    path = write(
        tmp_path, "image,x,y,w,h,category,iscrowd\nb.png,1,2,3,4,owl,0\nc.png,0,0,1,1,dog,0\nb.png,0,0,9,9,dog,1"
    )
    table = with_regions(data(tmp_path), path).split("test")
    none, own = table.columns["boxes"].values
    assert len(none.corners) == 0
    assert own.corners.tolist() == [[1, 2, 4, 6], [0, 0, 9, 9]]
    assert (own.labels.tolist(), own.crowd.tolist()) == ([1, 0], [False, True])
    assert table.columns["phrases"].values == ((), ("an owl", "a dog"))
    said = write(tmp_path, "path,x0,y0,x1,y1,phrase\na.png,1,2,3,4,the red one")
    table = with_regions(data(tmp_path), said).split("test")
    assert table.columns["phrases"].values == (("the red one",), ())
    assert table.columns["boxes"].values[0].labels.tolist() == [-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,x,y,w,category\na.png,1,2,3,owl", "needs a column image or path"),
        ("image,x,y,w,h,category\na.png,1,2,3,4,", "Row 1 of .* has no category"),
        ("image,x,y,w,h,category\na.png,1,2,3,wide,owl", "not four numbers"),
        ("image,x,y,w,h,category\na.png,1,nan,3,4,owl", "Row 1 of .* has the box 1, nan, 3, 4, which is not"),
        ("image,x,y,w,h,category\na.png,1,2,inf,4,owl", "Row 1 of .* has the box 1, 2, inf, 4, which is not"),
        ("image,x,y,w,h,category\na.png,1,2,0,4,owl", "Row 1 of .* has a box of 0 x 4 pixels"),
        ("image,x0,y0,x1,y1,category\na.png,5,2,3,4,owl", "Row 1 of .* has a box of -2 x 2 pixels"),
        ("image,x,y,w,h,category\na.png,20,2,3,4,owl", "Row 1 of .* outside .*a.png of 10 x 10 pixels"),
        ("image,x,y,w,h,category\na.png,-4,2,6,4,owl", "Row 1 of .* outside"),
        ("image,x,y,w,h,category\nc.png,1,2,3,4,owl", "No row of .* is of a picture of photos"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        with_regions(data(tmp_path), write(tmp_path, text))


def test_boxes_that_stick_out_are_cut_and_those_of_unreadable_pictures_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path, "image,x0,y0,x1,y1,phrase\na.png,-1,2,12,9,all\nb.png,-1,2,12,9,all")
    opened = data(tmp_path)
    (tmp_path / "b.png").write_bytes(b"x")
    a, b = with_regions(opened, path).split("test").columns["boxes"].values
    assert (a.corners.tolist(), b.corners.tolist()) == ([[0, 2, 10, 9]], [[-1, 2, 12, 9]])
