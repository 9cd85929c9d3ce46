from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.nn.crop_views import CoveredCrops, covering, cut, random_box, recolour, within


def gradient(width: int = 40, height: int = 30) -> Image.Image:
    x, y = np.meshgrid(np.arange(width) * 6, np.arange(height) * 8)
    return Image.fromarray(np.stack([x, y, 0 * x], -1).astype(np.uint8))


def test_boxes_lie_in_the_image_with_the_area_that_is_asked_for() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(50):
            left, top, right, bottom = random_box(gradient(), (0.5, 1.0))
            assert 0 <= left < right <= 40
            assert 0 <= top < bottom <= 30
            assert (right - left) * (bottom - top) > 0.45 * 1200


def test_a_box_in_another_one_is_found_again() -> None:
    boxes = [(2.0, 3.0, 10.0, 9.0), (4.0, 1.0, 20.0, 8.0)]
    outer = covering(boxes)
    assert outer == (2, 1, 20, 9)
    for box in boxes:
        left, top, right, bottom = within(box, outer)
        assert (2 + 18 * left, 1 + 8 * top, 2 + 18 * right, 1 + 8 * bottom) == pytest.approx(box)


def test_the_whole_at_its_own_size_stays_as_it_is() -> None:
    square = gradient(30, 30)
    crops, outer, boxes = CoveredCrops(2, (1.0, 1.0), 30, 30)(square)
    whole = torch.from_numpy(np.array(square)).permute(2, 0, 1) / 255
    assert torch.equal(crops[0], whole)
    assert torch.equal(crops[1], whole)
    assert torch.equal(outer, whole)
    assert boxes.tolist() == [[0, 0, 1, 1]] * 2


def test_a_crop_shows_what_its_box_says() -> None:
    """Red grows to the right and green downwards, so the mean colours of a crop tell where it was cut."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        crops, outer, boxes = CoveredCrops(2, (0.3, 0.5), 16, 64)(gradient(100, 100).resize((100, 100)))
    for crop, (left, top, right, bottom) in zip(crops, boxes.tolist(), strict=True):
        columns = slice(round(64 * left), round(64 * right))
        same = outer[:, round(64 * top) : round(64 * bottom), columns]
        torch.testing.assert_close(crop.mean((1, 2)), same.mean((1, 2)), atol=0.03, rtol=0)


def test_colours_change_and_the_cover_keeps_them() -> None:
    square = gradient(30, 30)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        views = [CoveredCrops(2, (1.0, 1.0), 30, 30, recolour(30, 0.1, 0.2))(square) for _ in range(5)]
    plain = CoveredCrops(2, (1.0, 1.0), 30, 30)(square)
    assert all(torch.equal(v[1], plain[1]) for v in views)
    assert sum(torch.equal(v[0], plain[0]) for v in views) < 3
    assert cut(square, (0, 0, 30, 30), 8).size == (8, 8)


def test_changes_of_colour_are_those_of_byol() -> None:
    """Strengths and probabilities of appendix B of the paper."""
    changes: Any = recolour(40, 0.1, 0.2)
    jitter, grey, blur, solarise = changes.transforms
    (change,), (kernel,) = jitter.transforms, blur.transforms
    ranges = (change.brightness, change.contrast, change.saturation, change.hue)
    assert ranges == tuple(map(pytest.approx, ((0.6, 1.4), (0.6, 1.4), (0.8, 1.2), (-0.1, 0.1))))
    assert (jitter.p, grey.p, blur.p, solarise.p) == (0.8, 0.2, 0.1, 0.2)
    assert (kernel.kernel_size, solarise.threshold) == ((5, 5), 128)
