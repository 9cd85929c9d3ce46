"""Anomaly maps as pictures: the photo, warm where it is unlike a normal one, or the warm colours alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

RAMP = np.array([(255, 237, 110), (253, 141, 60), (189, 0, 38)], dtype=np.float32)
"""Low, middle and high."""


def heat(
    photo: Image.Image, values: NDArray[np.float32], low: float, high: float, line: str, *, opacity: float = 0.75
) -> Image.Image:
    """Return the photo with its map over it, the more opaque the higher, and one line of text below.

    Args:
        photo: (H, W) RGB.
        values: (H, W) scores.
        low: score that is shown clear.
        high: score at full heat; both the same for all photos of a run, so that they compare.
        line: what stands below.
        opacity: of full heat, in [0, 1].
    """
    share, colours = _coloured(values, low, high)
    seen = np.asarray(photo.convert("RGB"), dtype=np.float32)
    painted = seen + (opacity * share)[..., None] * (colours - seen)
    size = max(12, round(max(photo.size) / 30))
    sheet = Image.new("RGB", (max(photo.width, size * len(line) * 2 // 3), photo.height + 2 * size), "white")
    sheet.paste(Image.fromarray(painted.round().astype(np.uint8)))
    ImageDraw.Draw(sheet).text(
        (size // 2, photo.height + size), line, fill=(20, 20, 20), font=ImageFont.load_default(size), anchor="lm"
    )
    return sheet


def layer(values: NDArray[np.float32], low: float, high: float, *, opacity: float = 0.75) -> Image.Image:
    """Return the map alone, as (H, W) RGBA that is laid over the photo; the arguments are those of ``heat``."""
    share, colours = _coloured(values, low, high)
    return Image.fromarray(np.dstack([colours, 255 * opacity * share]).round().astype(np.uint8))


def _coloured(values: NDArray[np.float32], low: float, high: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the (H, W) shares of full heat in [0, 1], and their (H, W, 3) colours."""
    share = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    position = share * (len(RAMP) - 1)
    left = np.minimum(position.astype(np.int64), len(RAMP) - 2)
    return share, RAMP[left] + (position - left)[..., None] * (RAMP[left + 1] - RAMP[left])
