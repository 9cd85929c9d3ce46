"""From a picture to the pixels of a tower: the evaluation transforms of open_clip and timm, without torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.core import PixelRecipe

if TYPE_CHECKING:
    from torch import Tensor

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_STRIP = 64  # least ratio of sides of a strip, which is cropped before its resize to bound memory


def prepare(image: Image.Image, recipe: PixelRecipe) -> NDArray[np.float32]:
    """Resize, crop or pad, and normalise one picture.

    Args:
        image: any size; modes other than RGB are converted first.
        recipe: pixel recipe of the tower.

    Returns:
        (3, S, S) float32, the same bits as open_clip's evaluation transform on an RGB picture (or timm's, where
        ``crop`` < 1). Strips more than 64 times as long as wide are cropped to their middle first, so their last
        bits may differ.

    Source: open_clip 3.3 ``image_transform_v2``, timm 1.0 ``transforms_imagenet_eval``, re-derived from their
        documented behaviour.
    """
    square = np.ascontiguousarray(np.asarray(fit(image, recipe)).transpose(2, 0, 1))  # bytes: the copy is small
    return normalise(square.astype(np.float32) / np.float32(255), recipe)


@overload
def normalise(x01: NDArray[np.float32], recipe: PixelRecipe) -> NDArray[np.float32]: ...
@overload
def normalise(x01: Tensor, recipe: PixelRecipe) -> Tensor: ...
def normalise(x01: NDArray[np.float32] | Tensor, recipe: PixelRecipe) -> NDArray[np.float32] | Tensor:
    """Subtract the mean and divide by the standard deviation of each channel; keeps gradients.

    Args:
        x01: (..., 3, H, W) float values in [0, 1], array or tensor.
        recipe: pixel recipe of the tower.

    Returns:
        The same size and kind as ``x01``.
    """
    if isinstance(x01, np.ndarray):
        mean, std = (np.asarray(v, dtype=np.float32).reshape(3, 1, 1) for v in (recipe.mean, recipe.std))
        return (x01 - mean) / std
    return (x01 - x01.new_tensor(recipe.mean).reshape(3, 1, 1)) / x01.new_tensor(recipe.std).reshape(3, 1, 1)


def fit(image: Image.Image, recipe: PixelRecipe) -> Image.Image:
    """Resize and crop or pad a picture to the square input of the tower.

    Returns:
        RGB image of ``recipe.size`` squared.
    """
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    side = math.floor(recipe.size / recipe.crop)
    if recipe.resize == "shortest":
        rgb = _middle_of_strip(rgb)
    width, height = rgb.size
    if recipe.resize == "squash":
        target = (side, side)
    elif recipe.resize == "shortest":
        long = int(side * max(width, height) / min(width, height))
        target = (side, long) if width <= height else (long, side)
    else:
        ratio = max(height / side, width / side)
        target = (max(1, round(width / ratio)), max(1, round(height / ratio)))
    if target != rgb.size:
        rgb = rgb.resize(target, _FILTERS[recipe.interpolation])
    return _centre(rgb, recipe.size, recipe.fill)


def _middle_of_strip(image: Image.Image) -> Image.Image:
    width, height = image.size
    if max(width, height) <= _STRIP * min(width, height):
        return image
    cut = (max(width, height) - 4 * min(width, height)) // 2
    return image.crop((cut, 0, width - cut, height) if width > height else (0, cut, width, height - cut))


def _centre(image: Image.Image, size: int, fill: int) -> Image.Image:
    """Pad short sides with grey, then crop the centre, with the rounding of torchvision."""
    width, height = image.size
    if width < size or height < size:
        canvas = Image.new("RGB", (max(width, size), max(height, size)), (fill, fill, fill))
        canvas.paste(image, (max(size - width, 0) // 2, max(size - height, 0) // 2))
        image, (width, height) = canvas, canvas.size
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image if image.size == (size, size) else image.crop((left, top, left + size, top + size))
