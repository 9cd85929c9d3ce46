from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from diptych.core import Column, DataError, Table, UsageError
from diptych.data.scenes.composed import IGNORE, Mosaics, Pasted, largest_square, mosaic_data, pasted_data
from tests.support.pictures import Pictures

COLOURS = tuple((20 * k + 10, 255 - 20 * k, 7 * k) for k in range(12))


def flat(k: int) -> Image.Image:
    return Image.new("RGB", (30 + k, 20), COLOURS[k])


@pytest.fixture
def twelve() -> Pictures:
    return Pictures(tuple(flat(k) for k in range(12)))


def test_each_tile_shows_its_photo_and_the_mask_says_which(twelve: Pictures) -> None:
    made = Mosaics(twelve, np.arange(12), 20, seed=3, side=24, grids=(1, 2, 3))
    for i in range(len(made)):
        pixels, mask = np.asarray(made[i]), made.mask(i)
        assert pixels.shape == (24, 24, 3)
        assert (mask.shape, mask.dtype) == ((24, 24), np.uint8)
        assert np.array_equal(pixels, np.array(COLOURS, dtype=np.uint8)[mask])
        assert len(set(made.tiles(i).ravel().tolist())) == made.tiles(i).size
    assert {len(made.tiles(i)) for i in range(20)} == {1, 2, 3}


def test_a_tile_is_the_middle_of_its_photo() -> None:
    wide = np.zeros((10, 30, 3), dtype=np.uint8)
    wide[:, 10:20] = 200
    (made,) = (Mosaics(Pictures((Image.fromarray(wide),)), np.zeros(1, dtype=np.int64), 1, side=10, grids=(1,)),)
    assert (np.asarray(made[0]) == 200).all()


def test_mosaics_are_fixed_by_seed_number_and_photos(twelve: Pictures) -> None:
    labels = np.arange(12) % 5
    one, two = (Mosaics(twelve, labels, 8, seed=s, side=24, grids=(2, 3)) for s in (1, 2))
    again = Mosaics(twelve, labels, 4, seed=1, side=24, grids=(2, 3))
    assert [one.key(i) for i in range(4)] == [again.key(i) for i in range(4)]
    assert len({one.key(i) for i in range(8)} | {two.key(i) for i in range(8)}) == 16
    assert np.array_equal(np.asarray(one[3]), np.asarray(again[3]))
    with pytest.raises(IndexError):
        one[8]


@pytest.mark.parametrize(
    ("more", "error", "says"),
    [
        ({"grids": (5,)}, UsageError, "divide the side"),
        ({"grids": ()}, UsageError, "divide"),
        ({"grids": (4,)}, DataError, "takes 16 photos"),
    ],
)
def test_mosaics_that_cannot_be_are_refused(
    twelve: Pictures, more: dict[str, tuple[int, ...]], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        Mosaics(twelve, np.arange(12), 3, side=24, **more)
    with pytest.raises(DataError, match="255"):
        Mosaics(twelve, np.full(12, 255), 3, side=24, grids=(2,))


@dataclass(frozen=True)
class Scenes:
    """Photos of 60 x 40: a grey wall, and on it a coloured box of one class."""

    photos: Pictures
    masks: tuple[NDArray[np.uint8], ...]


@pytest.fixture
def boxes() -> Scenes:
    photos, masks = [], []
    for k in range(4):
        pixels, mask = np.full((40, 60, 3), 100 + k, dtype=np.uint8), np.full((40, 60), IGNORE, dtype=np.uint8)
        pixels[5:25, 2:18], mask[5:25, 2:18] = COLOURS[2 * k], 2 * k
        photos.append(Image.fromarray(pixels))
        masks.append(mask)
    return Scenes(Pictures(tuple(photos)), tuple(masks))


def test_what_is_pasted_is_where_the_mask_says(boxes: Scenes) -> None:
    made = Pasted(boxes.photos, boxes.masks, 30, seed=1, side=50)
    assert made.present == (0, 2, 4, 6)
    seen = set()
    for i in range(len(made)):
        pixels, mask = np.asarray(made[i]).astype(int), made.mask(i)
        assert (mask.shape, mask.dtype) == ((50, 50), np.uint8)
        for k in range(1, 5):
            inside = pixels[mask == k]
            assert (np.abs(inside - COLOURS[2 * k - 2]) <= 1).all()
            seen |= {k} if len(inside) else set()
        grey = pixels[mask == 0]
        assert ((grey >= 99) & (grey <= 104)).all()
        (_, things) = made.placed(i)
        assert 1 <= len(things) <= 2
        for cut, x, y, w, h in things:
            assert cut.box == (2, 5, 18, 25)
            assert 0.38 * 50 <= max(w, h) <= 0.72 * 50
            assert 0 <= x <= 50 - w
            assert 0 <= y <= 50 - h
        x, y, w, h = things[-1][1:]
        assert (
            mask[y : y + h, x : x + w] == 1 + made.present.index(things[-1][0].label)
        ).all()  # what comes last hides what came first
    assert seen == {1, 2, 3, 4}


def test_small_and_ragged_things_are_not_cut_out(boxes: Scenes) -> None:
    small, ragged, full = (np.full((40, 60), IGNORE, dtype=np.uint8) for _ in range(3))
    small[:5, :5] = 0
    ragged[np.arange(40) % 4 == 0, :] = 1  # a quarter of its box
    full[:, :] = 2
    made = Pasted(Pictures(boxes.photos.images[:3]), (small, ragged, full), 1)
    cuts, squares = made.sources
    assert [(cut.photo, cut.label) for cut in cuts] == [(2, 2)]
    assert [square[0] for square in squares] == [0]


def test_what_cannot_be_pasted_is_refused(boxes: Scenes) -> None:
    empty = np.full((40, 60), IGNORE, dtype=np.uint8)
    with pytest.raises(DataError, match="0 cut-outs and 2 empty squares"):
        _ = Pasted(Pictures(boxes.photos.images[:2]), (empty, empty), 1).present
    wrong = (boxes.masks[0][:, :50], *boxes.masks[1:])
    made = Pasted(boxes.photos, wrong, 30, side=50)
    with pytest.raises(DataError, match=r"The mask of picture 0 has \(40, 50\) pixels"):
        [made[i] for i in range(30)]
    with pytest.raises(DataError, match="no masks"):
        pasted_data("x", Table(boxes.photos), ("a",), 3)


def test_keys_follow_photos_and_places(boxes: Scenes) -> None:
    one = Pasted(boxes.photos, boxes.masks, 20, seed=1, side=50)
    assert len({one.key(i) for i in range(20)} | {replace(one, seed=2).key(i) for i in range(20)}) == 40
    assert one.key(7) == replace(one).key(7)


def test_as_data_they_have_a_test_split_with_masks(twelve: Pictures, boxes: Scenes) -> None:
    names = tuple(f"class {k}" for k in range(12))
    many = Pictures(tuple(twelve.images) + tuple(flat(k) for k in range(12)))
    mosaic = mosaic_data("m", Table(many, {"label": Column("label", np.arange(24) % 12)}), names, 3)
    pasted = pasted_data("p", Table(boxes.photos, {"mask": Column("mask", boxes.masks)}), names, 3)
    assert mosaic.classes == names
    assert pasted.classes == ("background", "class 0", "class 2", "class 4", "class 6")
    kept = tuple(
        np.where(m == IGNORE, 1, m).astype(np.uint8) for m in boxes.masks
    )  # class 1 is "background": the same places
    named = pasted_data(
        "p", Table(boxes.photos, {"mask": Column("mask", kept)}), (names[0], "background", *names[2:]), 3
    )
    assert named.classes == pasted.classes
    assert named.hash == pasted.hash
    for data in (mosaic, pasted):
        table = data.split("test").take([2, 0])
        assert len(table) == 2
        assert np.array_equal(table.columns["mask"].values[0], data.split("test").columns["mask"].values[2])
        assert table.columns["mask"].values[1].shape == (table.items[1].height, table.items[1].width)
        assert len(data.hash) == 64


def test_the_largest_square_by_hand() -> None:
    """Against a loop over all squares."""
    rng = np.random.default_rng(0)
    for share in (0.0, 0.05, 0.2, 0.5, 1.0):
        free = rng.random((13, 17)) >= share
        squares = [
            (-s, y, x)
            for s in range(1, 14)
            for y in range(14 - s)
            for x in range(18 - s)
            if free[y : y + s, x : x + s].all()
        ]
        size, top, left = min(squares, default=(0, 0, 0))
        assert largest_square(free) == (left, top, -size)
