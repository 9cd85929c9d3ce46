from __future__ import annotations

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from timm.data.transforms_factory import transforms_imagenet_eval
from torchvision.transforms import v2

from diptych.core import PixelRecipe
from diptych.data.pixels import fit, normalise, prepare
from tests.support.image_files import gradient

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
SIZES = [(451, 300), (300, 451), (64, 64), (63, 64), (65, 64), (32, 32), (200, 500), (203, 201), (7, 400), (1, 30)]


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng([width, height]).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [64, 65])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("resize", ["shortest", "squash", "longest"])
def test_same_bits_as_open_clip(resize: str, interpolation: str, size: int) -> None:
    config = PreprocessCfg(
        size=size, mean=MEAN, std=STD, interpolation=interpolation, resize_mode=resize, fill_color=127
    )
    theirs = image_transform_v2(config, is_train=False)
    recipe = PixelRecipe(size, MEAN, STD, interpolation, resize, fill=127)  # type: ignore[arg-type]
    for width, height in SIZES:
        image = noise(width, height)
        got = prepare(image, recipe)
        assert got.shape == (3, size, size)
        assert got.dtype == np.float32
        assert np.array_equal(got, theirs(image).numpy()), (width, height)


@pytest.mark.parametrize(("size", "crop"), [(224, 0.875), (64, 0.9), (65, 0.95)])
def test_same_bits_as_timm_with_a_crop(size: int, crop: float) -> None:
    theirs = transforms_imagenet_eval(size, crop, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3)
    recipe = PixelRecipe(size, (0.5,) * 3, (0.5,) * 3, crop=crop)
    for width, height in SIZES:
        assert np.array_equal(prepare(noise(width, height), recipe), theirs(noise(width, height)).numpy()), (
            width,
            height,
        )


def test_same_pixels_as_torchvision() -> None:
    theirs = v2.Compose([v2.Resize(64, v2.InterpolationMode.BICUBIC), v2.CenterCrop(64)])
    for width, height in SIZES:
        assert np.array_equal(
            np.asarray(fit(noise(width, height), PixelRecipe(64, MEAN, STD))), np.asarray(theirs(noise(width, height)))
        )


def test_strips_stay_small_and_near() -> None:
    strip = noise(20_000, 20)
    got = fit(strip, PixelRecipe(64, MEAN, STD))
    middle = fit(strip.crop((9_000, 0, 11_000, 20)), PixelRecipe(64, MEAN, STD))
    assert got.size == (64, 64)
    assert np.abs(np.asarray(got).astype(int) - np.asarray(middle)).max() <= 1
    assert fit(noise(100_000, 1), PixelRecipe(224, MEAN, STD)).size == (224, 224)  # resized whole: 224 x 22,400,000


def test_longest_keeps_a_line_of_a_strip() -> None:
    assert fit(noise(1000, 1), PixelRecipe(64, MEAN, STD, resize="longest")).size == (64, 64)


def test_other_modes_are_converted_first() -> None:
    grey = gradient().convert("P")
    assert np.array_equal(
        prepare(grey, PixelRecipe(32, MEAN, STD)), prepare(grey.convert("RGB"), PixelRecipe(32, MEAN, STD))
    )


def test_input_is_not_written() -> None:
    image = gradient(64, 64)
    before = image.tobytes()
    prepare(image, PixelRecipe(64, MEAN, STD))
    assert image.tobytes() == before


def test_normalise_arrays_and_tensors_alike() -> None:
    x = np.random.default_rng(0).random((2, 3, 5, 4), dtype=np.float32)
    recipe = PixelRecipe(5, MEAN, STD)
    want = torch.stack([v2.functional.normalize(torch.from_numpy(row), list(MEAN), list(STD)) for row in x])
    assert np.array_equal(normalise(x, recipe), want.numpy())
    leaf = torch.from_numpy(x).requires_grad_()
    out = normalise(leaf, recipe)
    assert torch.equal(out, want)
    out.sum().backward()
    assert leaf.grad is not None
    assert torch.allclose(leaf.grad[0, :, 0, 0], 1 / torch.tensor(STD))
