from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as F

from diptych.data.views import TIP_VIEWS, ViewRecipe
from tests.support.image_files import gradient


def test_defaults_are_the_papers() -> None:
    assert (TIP_VIEWS.scale, TIP_VIEWS.ratio, TIP_VIEWS.flip, TIP_VIEWS.draws) == ((0.5, 1.0), (3 / 4, 4 / 3), 0.5, 10)


def test_a_draw_is_torchvisions_resized_crop() -> None:
    image = gradient(90, 70)
    for d in range(10):
        box = TIP_VIEWS.box(90, 70, "key", d)
        want = F.resized_crop(image, box.top, box.left, box.height, box.width, [64, 64], InterpolationMode.BICUBIC)
        want = F.hflip(want) if box.mirrored else want
        got = TIP_VIEWS.draw(image, 64, "key", d)
        assert got.shape == (64, 64, 3)
        assert got.dtype == np.uint8
        assert np.array_equal(got, np.asarray(want))


def test_boxes_are_distributed_as_torchvisions() -> None:
    width, height, n = 120, 80, 3000
    ours = np.array([TIP_VIEWS.box(width, height, "k", d) for d in range(n)], dtype=float)
    torch.manual_seed(0)
    blank = Image.new("RGB", (width, height))
    theirs = np.array(
        [RandomResizedCrop.get_params(blank, [0.5, 1.0], [3 / 4, 4 / 3]) for _ in range(n)], dtype=float
    )  # top, left, h, w
    for mine, other in ((0, 1), (1, 0), (2, 3), (3, 2)):
        assert stats.ks_2samp(ours[:, mine], theirs[:, other]).statistic < 0.05
    assert abs(ours[:, 4].mean() - 0.5) < 0.03


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 500), (500, 1), (2, 3), (1000, 30)])
def test_boxes_stay_inside(width: int, height: int) -> None:
    for d in range(200):
        box = TIP_VIEWS.box(width, height, "key", d)
        assert min(box.left, box.top) >= 0
        assert min(box.width, box.height) >= 1
        assert box.left + box.width <= width
        assert box.top + box.height <= height


def test_a_draw_is_fixed_by_key_name_and_number() -> None:
    assert TIP_VIEWS.box(90, 70, "key", 3) == dataclasses.replace(TIP_VIEWS, draws=50).box(90, 70, "key", 3)
    assert TIP_VIEWS.box(90, 70, "key", 3) != TIP_VIEWS.box(90, 70, "key", 4)
    assert TIP_VIEWS.box(90, 70, "key", 3) != TIP_VIEWS.box(90, 70, "other", 3)
    assert ViewRecipe(scale=(0.4, 1.0)).name != TIP_VIEWS.name


def test_draws_do_not_change_between_versions() -> None:
    """The cache outlives the process: these boxes were written down when the cache was born."""
    assert [tuple(TIP_VIEWS.box(200, 100, "0" * 64, d)) for d in range(2)] == [
        (80, 1, 101, 99, False),
        (33, 0, 133, 100, True),
    ]


def test_the_global_generator_is_left_alone() -> None:
    before = np.random.get_state()[1].copy()
    TIP_VIEWS.draw(gradient(), 16, "key", 0)
    assert np.array_equal(before, np.random.get_state()[1])
