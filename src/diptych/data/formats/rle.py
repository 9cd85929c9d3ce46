"""COCO's masks: run lengths, their text form, and polygons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError
from diptych.data.images import MAX_PIXELS


def run_lengths(text: str | bytes) -> list[int]:
    """Return the run lengths of COCO's compressed text.

    - A number is groups of 5 bits, the lowest first, as characters from "0" on.
    - Bit 6 marks that more groups follow; the top bit of the last group is the sign.
    - From the fourth on, a number is the difference to the one two before.

    Args:
        text: the field "counts".

    Raises:
        DataError: the text is no run-length code.

    Source: COCO API, the text form of its run lengths; the tests compare with pycocotools.
    """
    data = text.encode("latin-1", "replace") if isinstance(text, str) else text
    counts: list[int] = []
    at = 0
    while at < len(data):
        value = shift = 0
        more = True
        while more:
            if at == len(data) or shift > 30 or not 48 <= data[at] < 112:
                raise DataError("A mask's run lengths are damaged: write the annotations again.")
            group = data[at] - 48
            value |= (group & 31) << shift
            more, shift, at = bool(group & 32), shift + 5, at + 1
        if group & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts


def from_runs(counts: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """Return the (H, W) mask of run lengths in column-major order, the first of background.

    Raises:
        DataError: a run is negative, or the runs do not fill the picture.
    """
    runs = np.asarray(counts)
    if (runs.dtype.kind not in "iu" and runs.size) or (runs.size and runs.min() < 0) or runs.sum() != height * width:
        raise DataError(f"A mask's run lengths do not fill {width} x {height} pixels: write the annotations again.")
    flat = np.repeat(np.arange(runs.size) % 2 == 1, runs.astype(np.int64))
    return flat.reshape(width, height).T


def to_runs(mask: NDArray[np.bool_]) -> list[int]:
    """Return the run lengths of an (H, W) mask in column-major order, the first of background; see ``from_runs``."""
    flat = np.concatenate([[False], mask.T.ravel(), [True]])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    runs = np.diff(ends, prepend=0)
    total = int(mask.size)
    listed: list[int] = runs.tolist()
    return listed if sum(listed) == total else [*listed, total - sum(listed)]


def from_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> NDArray[np.bool_]:
    """Return the (H, W) mask of polygons x0 y0 x1 y1 ... in pixels.

    A pixel is in the mask where its centre is in one of them by the even-odd rule. pycocotools rounds the outline to
    fifths of a pixel first, so the two may differ on the outline.

    Raises:
        DataError: a polygon has fewer than three points, an odd number of values, or values that are not finite.
    """
    mask = np.zeros((height, width), dtype=bool)
    for polygon in polygons:
        values = np.asarray(polygon, dtype=np.float64)
        if values.ndim != 1 or values.size < 6 or values.size % 2 or not np.isfinite(values).all():
            raise DataError("A mask's polygon needs three points or more, x and y each: write the annotations again.")
        points = values.reshape(-1, 2)
        toggles = np.zeros(
            (height, width + 1), dtype=bool
        )  # where a row's pixels change from outside to inside, or back
        for (xa, ya), (xb, yb) in zip(points, np.roll(points, -1, axis=0), strict=True):
            first, stop = np.ceil(np.clip([min(ya, yb), max(ya, yb)], 0, height) - 0.5).astype(int)
            rows = np.arange(first, stop)
            at = xa + (rows + 0.5 - ya) * ((xb - xa) / (yb - ya)) if rows.size else np.empty(0)
            toggles[rows, np.ceil(np.clip(at, 0, width) - 0.5).astype(int)] ^= True
        mask |= np.logical_xor.accumulate(toggles, axis=1)[:, :width]
    return mask


def segmentation_mask(segmentation: Any, height: int, width: int) -> NDArray[np.bool_]:
    """Return the (H, W) mask of COCO's field "segmentation": polygons, run lengths, or their compressed text.

    Raises:
        DataError: it is none of the three, is damaged, or its size is not the picture's.
    """
    if height * width > MAX_PIXELS:
        raise DataError(
            f"A mask of {width:,} x {height:,} pixels is more than the limit of {MAX_PIXELS:,}: check the annotations."
        )
    try:
        if isinstance(segmentation, Mapping):
            if list(segmentation["size"]) != [height, width]:
                raise DataError(
                    f"A mask has the size {segmentation['size']}, and its picture {[height, width]}: check the "
                    f"annotations."
                )
            counts = segmentation["counts"]
            return from_runs(run_lengths(counts) if isinstance(counts, (str, bytes)) else counts, height, width)
        return from_polygons(segmentation, height, width)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise DataError("A mask is neither polygons nor run lengths: write the annotations again.") from None
