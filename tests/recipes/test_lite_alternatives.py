"""Views keep the size of a square and show its middle; the mean over sets weighs each set the same."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from diptych.core import Run
from recipes.lite_alternatives import ZOOM, mean_of_means, square, zoomed


def test_a_square_is_the_middle_of_a_photo_at_224_pixels() -> None:
    stripes = np.zeros((100, 300, 3), np.uint8)
    stripes[:, 100:200] = 255
    assert (np.asarray(square(Image.fromarray(stripes))) == 255).all()
    assert square(Image.fromarray(stripes)).size == (224, 224)


def test_a_zoomed_square_shows_its_middle_larger() -> None:
    frame = np.zeros((224, 224), np.uint8)
    rim = round(224 * (1 - ZOOM) / 2) + 2
    frame[rim:-rim, rim:-rim] = 255
    found = np.asarray(zoomed(Image.fromarray(frame)))
    assert found.shape == (224, 224)
    assert (found[5:-5, 5:-5] == 255).all()
    assert (np.asarray(frame)[5:-5, 5:-5] == 0).any()


def test_the_mean_weighs_each_set_the_same_and_pairs_photos() -> None:
    g = np.random.default_rng(0)
    small, large = g.random(50) < 0.5, g.random(5000) < 0.5
    better = np.ones(50, bool)
    gain = mean_of_means([(small, better), (large, large)], Run())
    assert gain["value"] == pytest.approx((1 - small.mean()) / 2)
    assert gain["low"] < gain["value"] < gain["high"]
    same = mean_of_means([(large, large)], Run())
    assert same["value"] == 0
    assert same["high"] == -same["low"] == pytest.approx(1 - 0.025 ** (1 / 5000)), "a pair that never differs"
