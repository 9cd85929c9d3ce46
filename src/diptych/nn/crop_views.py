"""Crops of an image with their boxes, and changes of their colours, for losses that compare views.

All draws come from torch's global generator, which the training loop seeds for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from PIL import Image
from torch import Tensor

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom: in pixels, or as shares of another box."""


def random_box(image: Image.Image, scale: tuple[float, float]) -> Box:
    """Return a random box of an image, whose sides are between 3 : 4 and 4 : 3.

    Args:
        image: any size.
        scale: range of the share of the image's area, in (0, 1]. (1, 1) is the whole of an image that is square.

    Example:
        >>> random_box(Image.new("RGB", (20, 20)), (1.0, 1.0))
        (0, 0, 20, 20)
    """
    from torchvision.transforms import RandomResizedCrop

    top, left, height, width = RandomResizedCrop.get_params(image, list(scale), [3 / 4, 4 / 3])
    return (left, top, left + width, top + height)


def covering(boxes: Sequence[Box]) -> Box:
    """Return the smallest box round all boxes.

    Example:
        >>> covering([(0, 2, 4, 6), (3, 1, 9, 5)])
        (0, 1, 9, 6)
    """
    left, top, right, bottom = zip(*boxes, strict=True)
    return (min(left), min(top), max(right), max(bottom))


def within(box: Box, outer: Box) -> Box:
    """Return a box as shares of the sides of another one.

    Example:
        >>> within((2, 2, 4, 6), (0, 2, 8, 10))
        (0.25, 0.0, 0.5, 0.5)
    """
    left, top, right, bottom = outer
    width, height = right - left, bottom - top
    return ((box[0] - left) / width, (box[1] - top) / height, (box[2] - left) / width, (box[3] - top) / height)


def cut(image: Image.Image, box: Box, side: int) -> Image.Image:
    """Return the box of an image, resized to a square by bicubic interpolation."""
    return image.resize((side, side), Image.Resampling.BICUBIC, box=box)


def recolour(side: int, blur: float, solarise: float) -> Callable[[Image.Image], Image.Image]:
    """Return the random colour changes of BYOL's views: jitter, grey, blur and solarisation.

    Args:
        side: of the pictures in pixels; the blur's kernel is a tenth of it.
        blur: probability of a blur.
        solarise: probability that bright values are inverted.

    Source: Grill et al. 2020 (BYOL), appendix B.
    """
    from torchvision import transforms as T

    changed: Callable[[Image.Image], Image.Image] = T.Compose(
        [
            T.RandomApply([T.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8),
            T.RandomGrayscale(0.2),
            T.RandomApply([T.GaussianBlur(2 * (side // 20) + 1)], blur),
            T.RandomSolarize(128, solarise),
        ]
    )
    return changed


@dataclass(frozen=True)
class CoveredCrops:
    """Random crops of an image, and one crop that covers them.

    Args:
        count: V, number of crops.
        scale: as in ``random_box``.
        side: of the crops in pixels.
        outer_side: of the crop that covers them.
        recolour: changes the colours of the crops, not of what covers them; None: nothing does.

    Example:
        >>> crops, outer, boxes = CoveredCrops(2, (1.0, 1.0), side=8, outer_side=4)(Image.new("RGB", (20, 20)))
        >>> crops.shape, outer.shape, boxes.tolist()
        (torch.Size([2, 3, 8, 8]), torch.Size([3, 4, 4]), [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    """

    count: int
    scale: tuple[float, float]
    side: int
    outer_side: int
    recolour: Callable[[Image.Image], Image.Image] | None = None

    def __call__(self, image: Image.Image) -> tuple[Tensor, Tensor, Tensor]:
        """Return the crops, (V, 3, S, S) in [0, 1], what covers them, (3, S', S'), and their (V, 4) boxes in it."""
        from torchvision.transforms.functional import to_tensor

        image = image.convert("RGB")
        boxes = [random_box(image, self.scale) for _ in range(self.count)]
        outer = covering(boxes)
        crops = [cut(image, box, self.side) for box in boxes]
        changed = crops if self.recolour is None else [self.recolour(crop) for crop in crops]
        covers: Tensor = to_tensor(cut(image, outer, self.outer_side))
        return torch.stack([to_tensor(c) for c in changed]), covers, torch.tensor([within(b, outer) for b in boxes])
