"""Rows of small pictures on one sheet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor

SHOWN_SIDE, GAP = 256, 16
"""Least width of a written picture, to which smaller ones are blown up without smoothing, and the white between two, in
pixels.
"""


def picture_of(t: Tensor) -> Image.Image:
    """Return a (3, H, W) picture in [0, 1], as large as it is."""
    return Image.fromarray(np.rint(255 * t.permute(1, 2, 0).numpy()).astype(np.uint8))


def shown(t: Tensor, side: int = SHOWN_SIDE) -> Image.Image:
    """Return a (3, H, W) picture in [0, 1], blown up by a whole number until it is ``side`` pixels wide."""
    image = picture_of(t)
    times = max(1, -(-side // image.width))
    return image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)


def rows_sheet(rows: Sequence[Sequence[Tensor]], side: int = SHOWN_SIDE, gap: int = GAP) -> Image.Image:
    """Return rows of pictures on white, with white between them.

    Args:
        rows: (3, H, W) pictures in [0, 1], of any sizes.
        side: least width of each, in pixels.
        gap: between two, in pixels.
    """
    images = [[shown(t, side) for t in row] for row in rows]
    widths = [sum(i.width for i in row) + gap * (len(row) - 1) for row in images]
    heights = [max(i.height for i in row) for row in images]
    sheet = Image.new("RGB", (max(widths), sum(heights) + gap * (len(rows) - 1)), "white")
    top = 0
    for row, height in zip(images, heights, strict=True):
        left = 0
        for image in row:
            sheet.paste(image, (left, top))
            left += image.width + gap
        top += height + gap
    return sheet
