"""Tissue on a slide: what has more colour than the glass around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST, MOST = 15, 40
"""Range of the threshold on saturation, in [0, 255] (ours). A slide that is all glass, or all tissue, has no second
group for Otsu's method to find."""


def saturation(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the (H, W) saturation of (H, W, 3) RGB pixels, 255 (max - min) / max; 0 for black."""
    high = pixels.max(axis=2).astype(np.float64)
    low = pixels.min(axis=2)
    return np.asarray(np.rint(255 * (high - low) / np.maximum(high, 1)), dtype=np.uint8)


def otsu(values: NDArray[np.uint8]) -> int:
    """Return the threshold t that separates values <= t from values > t best.

        t = arg max w0 w1 (m0 - m1)^2

    w0, w1: shares of the values at most t and above
    m0, m1: their means

    Args:
        values: any number of bytes; of equal values the threshold is 0.

    Source: Otsu 1979, A threshold selection method from gray-level histograms.

    Example:
        >>> otsu(np.array([10, 12, 200, 210], np.uint8)) in range(12, 200)
        True
    """
    counts = np.bincount(values.ravel(), minlength=256).astype(np.float64)
    below, total = np.cumsum(counts), counts.sum()
    sums = np.cumsum(counts * np.arange(256))
    above = total - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return int(np.nan_to_num(between).argmax())


def tissue(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where (H, W, 3) RGB pixels show tissue, (H, W): saturation above Otsu's threshold, in [LEAST, MOST]."""
    values = saturation(pixels)
    return values > min(MOST, max(LEAST, otsu(values)))
