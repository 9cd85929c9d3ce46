"""Batches of images for a tower: the pixel recipe for pictures, normalisation only for tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from diptych.core import PixelRecipe, UsageError
from diptych.data.pixels import normalise, prepare


def image_batch(
    items: Sequence[Any], recipe: PixelRecipe, size: int | None = None, *, any_side: bool = False
) -> Tensor:
    """Return (B, 3, S, S) float32 normalised pixels.

    Args:
        items: B images: ``PIL.Image`` of any size, or float tensors (3, S, S) in [0, 1], which stay differentiable.
        recipe: the tower's pixel recipe.
        size: another side S; None: the recipe's.
        any_side: whether the tower reads any side.

    Raises:
        UsageError: ``size`` differs from the recipe's and the tower has a fixed side, or a tensor has another shape.
    """
    side = size or recipe.size
    if side != recipe.size and not any_side:
        raise UsageError(
            f"This tower reads {recipe.size} x {recipe.size} pixels only, not {side}: leave out the size, or use its "
            f"tower() hook."
        )
    recipe = replace(recipe, size=side)
    if not items:
        return torch.empty(0, 3, side, side)
    if len(items) == 1:  # stacking copies, in threads of torch that wait for each other where the cores are busy
        return _pixels(items[0], recipe)[None]
    return torch.stack([_pixels(item, recipe) for item in items])


def _pixels(item: Any, recipe: PixelRecipe) -> Tensor:
    if not isinstance(item, Tensor):
        return torch.from_numpy(prepare(item, recipe))
    if item.shape != (3, recipe.size, recipe.size) or not item.is_floating_point():
        raise UsageError(
            f"An image tensor must be float (3, {recipe.size}, {recipe.size}) in [0, 1], not {item.dtype} "
            f"{tuple(item.shape)}: "
            "resize it, or give a PIL image."
        )
    return normalise(item, recipe)
