from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.backbones.spec import OPENAI_MEAN, OPENAI_STD
from diptych.core import PixelRecipe
from diptych.nn.dense.masked_crops import (
    CroppedRegions,
    MaskedCrop,
    box_of,
    cropped,
    kept_patches,
    masked_inputs,
    resized_crop,
)
from tests.support.pictures import Pictures

RECIPE = PixelRecipe(16, OPENAI_MEAN, OPENAI_STD)


def test_box_and_mask_by_loops() -> None:
    g = torch.Generator().manual_seed(0)
    for size, cells in (((12, 20), (4, 5)), ((13, 7), (4, 5)), ((5, 5), (5, 5))):
        mask = torch.rand(cells, generator=g) > 0.8
        mask[2, 3] = True
        pixels = torch.rand(3, *size, generator=g)
        whole = np.zeros(size, dtype=bool)
        for y, x in np.ndindex(*size):
            whole[y, x] = mask[int((y + 0.5) * cells[0] / size[0]), int((x + 0.5) * cells[1] / size[1])]
        top, bottom, left, right = box_of(mask, *size)
        outside = whole.copy()
        outside[top:bottom, left:right] = False
        assert not outside.any()
        crop = cropped(pixels, mask)
        assert torch.equal(crop.pixels, pixels[:, top:bottom, left:right])
        assert (crop.mask.numpy() == whole[top:bottom, left:right]).all()


def test_a_box_of_whole_cells_is_tight() -> None:
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[1:3, 2] = True
    assert box_of(mask, 40, 20) == (10, 30, 10, 15)


def test_outside_has_the_mean_colour_and_the_whole_is_a_plain_resize() -> None:
    pixels = torch.rand(3, 32, 24, generator=torch.Generator().manual_seed(1))
    whole = masked_inputs([MaskedCrop(pixels, torch.ones(32, 24, dtype=torch.bool))], RECIPE, 16)
    mean, std = (torch.tensor(v)[:, None, None] for v in (RECIPE.mean, RECIPE.std))
    plain = torch.nn.functional.interpolate(
        ((pixels - mean) / std)[None], (16, 16), mode="bicubic", antialias=True, align_corners=False
    )
    torch.testing.assert_close(whole["pixels"], plain)
    assert whole["mask"].all()
    left = torch.arange(24).expand(32, 24) < 12
    half = masked_inputs([MaskedCrop(pixels, left)], RECIPE, 16)
    assert (half["pixels"][..., 11:] == 0).all()
    assert torch.equal(half["mask"][0], (torch.arange(16) < 8).expand(16, 16))
    speck = torch.zeros(320, 240, dtype=torch.bool)
    speck[0, 0] = True
    assert masked_inputs([MaskedCrop(torch.rand(3, 320, 240), speck)], RECIPE, 16)["mask"].any()


def test_crops_as_the_authors_resize_them() -> None:
    pixels, mask = torch.rand(3, 40, 30), torch.rand(40, 30) > 0.5
    got = masked_inputs([MaskedCrop(pixels, mask)], RECIPE, 16, antialias=False)
    mean, std = (torch.tensor(v)[:, None, None] for v in (RECIPE.mean, RECIPE.std))
    expected = torch.nn.functional.interpolate(((pixels - mean) / std * mask)[None], (16, 16), mode="bicubic")
    torch.testing.assert_close(got["pixels"], expected)
    rows, columns = ((torch.arange(16) * length / 16).long() for length in (40, 30))
    assert torch.equal(got["mask"][0], mask[rows[:, None], columns])


def test_a_patch_is_kept_with_any_pixel() -> None:
    mask = torch.zeros(2, 8, 12, dtype=torch.bool)
    mask[0, 3, 4] = mask[1, 4, 11] = True
    assert kept_patches(mask, (4, 4)).nonzero().tolist() == [[0, 1], [1, 5]]


def test_random_parts_are_within_their_share_and_repeat() -> None:
    x = {"pixels": torch.rand(1, 3, 16, 16), "mask": torch.ones(1, 16, 16, dtype=torch.bool)}
    one, two = (resized_crop(x, 0.5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one["pixels"], two["pixels"])
    assert one["pixels"].shape == x["pixels"].shape
    assert torch.equal(resized_crop(x, 1.0, torch.Generator())["pixels"], x["pixels"])


def test_regions_are_keyed_by_photo_mask_and_side() -> None:
    photos = Pictures(tuple(Image.new("RGB", (40, 30), c) for c in ("red", "blue")))
    masks = torch.eye(2, dtype=torch.bool)
    regions = CroppedRegions(photos, ((0, masks), (1, masks), (0, ~masks), (0, masks)))
    assert len({regions.key(i) for i in range(4)}) == 3
    assert regions.key(0) == regions.key(3) != CroppedRegions(photos, regions.rows, 16).key(0)
    assert regions[0].pixels.shape == (3, 30, 40)
    assert CroppedRegions(photos, regions.rows, 15)[0].pixels.shape == (3, 15, 20)
    assert regions.name(2).endswith("region 2")


@pytest.mark.parametrize("cells", [(50, 50), (3, 90)])
def test_cells_finer_than_pixels_keep_a_region(cells: tuple[int, int]) -> None:
    mask = torch.zeros(cells, dtype=torch.bool)
    mask[1, 1] = True
    assert cropped(torch.rand(3, 4, 4), mask).mask.any()
