from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as oracle

from diptych.core import DataError
from diptych.data.formats.rle import from_polygons, from_runs, run_lengths, segmentation_mask, to_runs


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_run_lengths_as_pycocotools(height: int, width: int, seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    coded = oracle.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert np.array_equal(segmentation_mask(coded, height, width), mask)
    assert np.array_equal(segmentation_mask({**coded, "counts": coded["counts"].decode()}, height, width), mask)
    plain = {"size": [height, width], "counts": run_lengths(coded["counts"])}
    assert np.array_equal(oracle.decode(oracle.frPyObjects(plain, height, width)).astype(bool), mask)
    assert np.array_equal(segmentation_mask(plain, height, width), mask)


def test_long_runs() -> None:
    mask = np.zeros((3000, 2000), dtype=np.uint8)
    mask[100:2900, 50:1900] = 1
    coded = oracle.encode(np.asfortranarray(mask))
    assert np.array_equal(segmentation_mask(coded, 3000, 2000), mask.astype(bool))


def test_runs_by_hand() -> None:
    assert from_runs([1, 2, 3], 2, 3).tolist() == [[False, True, False], [True, False, False]]
    assert from_runs([6], 2, 3).sum() == 0
    assert from_runs([0, 6], 2, 3).all()


def test_polygons_lie_within_a_pixel_of_pycocotools() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        angle = np.sort(rng.uniform(0, 2 * np.pi, 9))
        reach = rng.uniform(10, 28, 9)
        polygon = np.stack([32 + reach * np.cos(angle), 30 + reach * np.sin(angle)], axis=1).ravel().tolist()
        ours = from_polygons([polygon], 60, 64)
        theirs = oracle.decode(oracle.merge(oracle.frPyObjects([polygon], 60, 64))).astype(bool)
        padded = np.pad(theirs, 1)
        near = np.max([padded[y : y + 60, x : x + 64] for y in range(3) for x in range(3)], axis=0)
        inner = np.min([padded[y : y + 60, x : x + 64] for y in range(3) for x in range(3)], axis=0)
        assert (ours <= near).all()
        assert (ours >= inner).all()
        assert (ours & theirs).sum() / (ours | theirs).sum() > 0.9


def test_polygons_are_the_pixels_whose_centre_lies_inside() -> None:
    """A loop over pixels and edges, even-odd, also for polygons that cross themselves or leave the picture."""
    rng = np.random.default_rng(1)
    for _ in range(8):
        polygon = rng.uniform(-5, 20, (int(rng.integers(3, 9)), 2))
        mask = from_polygons([polygon.ravel().tolist()], 15, 12)
        for y in range(15):
            for x in range(12):
                crossed = 0
                for (xa, ya), (xb, yb) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
                    if (ya <= y + 0.5) != (yb <= y + 0.5):
                        crossed += xa + (y + 0.5 - ya) * (xb - xa) / (yb - ya) < x + 0.5
                assert mask[y, x] == crossed % 2


def test_several_polygons_are_one_mask() -> None:
    mask = segmentation_mask([[0, 0, 4, 0, 4, 4, 0, 4], [6, 6, 9, 6, 9, 9, 6, 9]], 10, 10)
    assert mask[1, 1]
    assert mask[7, 7]
    assert not mask[5, 5]


@pytest.mark.parametrize(
    "broken",
    [
        {"size": [4, 4], "counts": [3, 3]},
        {"size": [4, 4], "counts": [-1, 17]},
        {"size": [4, 4], "counts": [8.5, 7.5]},
        {"size": [4, 4], "counts": "\x00"},
        {"size": [4, 4], "counts": "P"},
        {"size": [4, 4], "counts": "oooooooooo0"},
        {"size": [4, 5], "counts": [20]},
        {"counts": [16]},
        [[0, 0, 1, 1]],
        [[0, 0, 1, 1, 2]],
        [[0, 0, 1, 1, 2, float("nan")]],
        [["a", 0, 1, 1, 2, 3]],
        7,
    ],
)
def test_broken_masks(broken: object) -> None:
    with pytest.raises(DataError, match=r"[Mm]ask"):
        segmentation_mask(broken, 4, 4)


def test_a_mask_may_not_be_endless() -> None:
    with pytest.raises(DataError, match="more than the limit"):
        segmentation_mask({"size": [10**6, 10**6], "counts": [10**12]}, 10**6, 10**6)


@pytest.mark.parametrize("mask", [[[0]], [[1]], [[0, 1], [1, 1]], [[1, 0], [0, 0]], [[1, 1], [1, 1]], [[0, 0], [1, 0]]])
def test_runs_of_a_mask_give_the_mask_back(mask: list[list[int]]) -> None:
    pixels = np.array(mask, dtype=bool)
    runs = to_runs(pixels)
    np.testing.assert_array_equal(from_runs(runs, *pixels.shape), pixels)
    theirs = oracle.encode(np.asfortranarray(pixels.astype(np.uint8)))
    assert run_lengths(theirs["counts"]) == runs
