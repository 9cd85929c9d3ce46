from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diptych.core import DataError
from diptych.data.shapes import ShapePictures, Shapes, WithoutPictures, points_of
from tests.support.clouds import shape, shapes


def test_keys_change_with_each_part() -> None:
    one = shape(0, 1)
    parts = {"points": one.points + 1, "picture": shape(1, 1).picture, "camera": (1.0, 2.0)}
    other = [replace(one, **{name: value}) for name, value in parts.items()]  # type: ignore[arg-type]
    samples = Shapes(("a",) * 5, [one, shape(0, 1), *other])
    assert samples.key(0) == samples.key(1)
    assert len({samples.key(i) for i in range(1, 5)}) == 4
    bare = WithoutPictures(samples)
    assert bare[3].picture is None
    assert [bare.key(i) == bare.key(0) for i in range(5)] == [True, True, False, True, False]


def test_pictures_are_named_and_missing_ones_refused() -> None:
    pictures = ShapePictures(shapes([0, 1], 1))
    assert (len(pictures), pictures.name(1), pictures[1].size) == (2, "shape 1/1", (16, 16))
    assert pictures.key(0) != pictures.key(1)
    bare = Shapes(("bare",), [replace(shape(0, 1), picture=None)])
    with pytest.raises(DataError, match="bare has no picture"):
        ShapePictures(bare)
    with pytest.raises(DataError, match="has no picture"):
        ShapePictures(_Clouds())  # type: ignore[arg-type]


class _Clouds:
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> np.ndarray:
        return np.zeros((1, 3), dtype=np.float32)

    def key(self, index: int) -> str:
        return "k"

    def name(self, index: int) -> str:
        return "cloud"


def test_points_that_are_not_finite_are_refused() -> None:
    spoiled = shape(0, 1).points.copy()
    spoiled[2, 1], spoiled[5] = np.nan, np.inf
    for item in (spoiled, replace(shape(0, 1), points=spoiled)):
        with pytest.raises(DataError, match=f"2 of {len(spoiled)} points are not finite"):
            points_of(item)
