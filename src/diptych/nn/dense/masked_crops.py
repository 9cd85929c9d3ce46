"""Regions of photos as masked crops: the box of a mask, in which all outside the mask has the tower's mean colour.

    x = resize( m normalise(crop) )        zero, the mean colour, outside the mask

crop: the photo in the tight box of the mask;  m: in {0, 1}, the mask in the box;  resize: to S x S, without the ratio
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.core import PixelRecipe, Samples
from diptych.data.pixels import normalise
from diptych.nn.dense.label_maps import resized


@dataclass(frozen=True)
class MaskedCrop:
    """One region of a photo.

    Args:
        pixels: (3, h, w) in [0, 1] of its box.
        mask: (h, w) bool, not all False.
    """

    pixels: Tensor
    mask: Tensor


def box_of(mask: Tensor, height: int, width: int) -> tuple[int, int, int, int]:
    """Return (top, bottom, left, right), in whole pixels, of the tight box of a mask; the latter of each is outside.

    Args:
        mask: (h, w) bool over the image, not all False.
        height: of the image.
        width: of the image.

    Example:
        >>> box_of(torch.tensor([[False, True], [False, True]]), 10, 30)
        (0, 10, 15, 30)
    """
    ends = []
    for axis, length in ((1, height), (0, width)):
        at = torch.nonzero(mask.any(axis))[:, 0].tolist()
        cells = mask.shape[1 - axis]
        ends += [at[0] * length // cells, -(-(at[-1] + 1) * length // cells)]
    return ends[0], ends[1], ends[2], ends[3]


def cropped(pixels: Tensor, mask: Tensor) -> MaskedCrop:
    """Return the crop of a region.

    Args:
        pixels: (3, H, W) in [0, 1].
        mask: (h, w) bool over the image, not all False; each pixel takes the cell that its centre lies in.
    """
    height, width = pixels.shape[1:]
    top, bottom, left, right = box_of(mask, height, width)
    rows, columns = (
        ((torch.arange(start, stop) + 0.5) * cells / length).long().clamp_max(cells - 1)
        for start, stop, length, cells in ((top, bottom, height, mask.shape[0]), (left, right, width, mask.shape[1]))
    )
    inside = mask[rows[:, None], columns[None]]
    if not inside.any():  # cells finer than pixels, between whose centres the mask lies
        inside = torch.ones_like(inside)
    return MaskedCrop(pixels[:, top:bottom, left:right], inside)


def masked_inputs(
    crops: Sequence[MaskedCrop], recipe: PixelRecipe, side: int, *, antialias: bool = True
) -> dict[str, Tensor]:
    """Return {"pixels": (B, 3, S, S) normalised, 0 outside the masks, "mask": (B, S, S) bool}.

    Pixels are resized bicubically; a mask takes the nearest pixel, and all of a mask that would vanish is kept.

    Args:
        crops: B.
        recipe: mean and standard deviation of the tower.
        side: S.
        antialias: whether larger crops are smoothed. The authors' are not, and their masks take the pixel at the corner
            of a cell, not at its centre.

    Source: Liang et al. 2023 (OVSeg), section 3.2.
    """
    pixels, masks = [], []
    for crop in crops:
        filled = normalise(crop.pixels, recipe) * crop.mask
        pixels.append(
            F.interpolate(filled[None], (side, side), mode="bicubic", antialias=antialias, align_corners=False)
        )
        nearest = "nearest-exact" if antialias else "nearest"
        mask = F.interpolate(crop.mask[None, None].float(), (side, side), mode=nearest)[:, 0] > 0
        masks.append(mask if mask.any() else torch.ones_like(mask))
    return {"pixels": torch.cat(pixels), "mask": torch.cat(masks)}


def kept_patches(mask: Tensor, patch: tuple[int, int]) -> Tensor:
    """Return (B, n) bool: True for patches with any pixel of the mask, in row-major order.

    Args:
        mask: (B, H, W) bool, sides multiples of the patch.
        patch: its (height, width).
    """
    return F.max_pool2d(mask[:, None].float(), patch).flatten(1) > 0


def resized_crop(inputs: dict[str, Tensor], least: float, g: torch.Generator) -> dict[str, Tensor]:
    """Return a random square part of one crop's inputs, resized to the whole.

    Args:
        inputs: of ``masked_inputs``, B = 1.
        least: smallest share of the area, in (0, 1].
        g: random numbers.
    """
    side = inputs["pixels"].shape[-1]
    share = least + (1 - least) * float(torch.rand((), generator=g))
    length = max(1, round(side * share**0.5))
    top, left = (int(torch.randint(side - length + 1, (), generator=g)) for _ in range(2))
    span = slice(top, top + length), slice(left, left + length)
    mask = inputs["mask"][:, None, span[0], span[1]].float()
    if length == side or not mask.any():
        return inputs
    pixels = F.interpolate(inputs["pixels"][..., span[0], span[1]], (side, side), mode="bicubic", align_corners=False)
    return {"pixels": pixels, "mask": F.interpolate(mask, (side, side), mode="nearest-exact")[:, 0] > 0}


@dataclass(frozen=True)
class CroppedRegions:
    """Regions of photos as samples of ``MaskedCrop``.

    Args:
        rows: N (photo, mask): its position, and (h, w) bool over it, not all False.
        side: shorter side, in pixels, to which larger photos are reduced before they are cropped.
    """

    photos: Samples[Any]
    rows: tuple[tuple[int, Tensor], ...]
    side: int = 640

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> MaskedCrop:
        n, mask = self.rows[index]
        photo = self.photos[n]
        return cropped(resized(photo, min(self.side, *photo.size)), mask)

    def key(self, index: int, /) -> str:
        """Return the hash of photo, mask and side."""
        n, mask = self.rows[index]
        bits = mask.contiguous().numpy().tobytes()
        facts = f"region/1/{self.photos.key(n)}/{self.side}/{tuple(mask.shape)}/"
        return hashlib.sha256(facts.encode() + bits).hexdigest()

    def name(self, index: int, /) -> str:
        """Return the photo's name and the number of the region."""
        return f"{self.photos.name(self.rows[index][0])}, region {index}"
