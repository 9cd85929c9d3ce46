"""Values of "boxes" and "mask" columns: boxes with their classes, and masks that are read on demand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diptych.core import Column, DataError, PixelRecipe, UsageError
from diptych.data.images import image_size, open_mask

BoxForm = Literal["xywh", "xyxy"]


class Boxes(NamedTuple):
    """The boxes of one picture; one value of a "boxes" column.

    Args:
        corners: (n, 4) float32, x0 y0 x1 y1 in pixels, x1 and y1 not included.
        labels: (n,) int64 class positions; -1 without a class.
        crowd: (n,) bool: a group of several objects, left out by detection metrics.
    """

    corners: NDArray[np.float32]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]


def boxes(values: Sequence[Sequence[float]], form: BoxForm, labels: Sequence[int], crowd: Sequence[bool] = ()) -> Boxes:
    """Return boxes as corners.

    Args:
        values: n boxes of 4 numbers in pixels.
        form: "xywh" (left, top, width, height: COCO, Hugging Face) or "xyxy" (corners).
        labels: n class positions.
        crowd: n marks; () is none.

    Raises:
        UsageError: an unknown form.
        DataError: a box is not four finite numbers, or has a negative width or height.
    """
    if form not in ("xywh", "xyxy"):
        raise UsageError(f"{form!r} is no form of boxes: choose 'xywh' or 'xyxy'.")
    try:
        corners = np.array([list(v) for v in values], dtype=np.float64).reshape(len(values), 4)
    except (TypeError, ValueError):
        raise DataError(f"A box is not four numbers ({str(values)[:80]}): write {form} in pixels.") from None
    if form == "xywh":
        corners[:, 2:] += corners[:, :2]
    if not np.isfinite(corners).all() or (corners[:, 2:] < corners[:, :2]).any():
        raise DataError(
            f"A box ends before it begins, or is not finite ({str(values)[:80]}): check that the boxes are {form}."
        )
    marks = np.array(crowd, dtype=bool) if len(crowd) else np.zeros(len(values), dtype=bool)
    return Boxes(corners.astype(np.float32), np.array(labels, dtype=np.int64).reshape(len(values)), marks)


def framed(
    corners: NDArray[np.floating], size: tuple[int, int], recipe: PixelRecipe
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return boxes in [0, 1] of the input of a tower, clipped to it, and the share of each that lies inside.

    The places follow ``data.pixels.fit`` up to its rounding to whole pixels.

    Args:
        corners: (n, 4) x0 y0 x1 y1 in pixels of the picture.
        size: (width, height) of the picture.
        recipe: of the tower.

    Returns:
        (n, 4) boxes, and (n,) shares in [0, 1]; 0 of a box without an area.

    Example:
        The right half of a wide picture, of which a tower sees the middle square:

        >>> recipe = PixelRecipe(32, (0.5,) * 3, (0.5,) * 3, resize="shortest")
        >>> box, share = framed(np.array([[20.0, 0.0, 40.0, 20.0]]), (40, 20), recipe)
        >>> box.tolist(), share.tolist()
        ([[0.5, 0.0, 1.0, 1.0]], [0.5])
    """
    width, height = size
    side = math.floor(recipe.size / recipe.crop)
    if recipe.resize == "squash":
        scale = np.array([side / width, side / height])
    else:
        edge = min(size) if recipe.resize == "shortest" else max(size)
        scale = np.array([side / edge, side / edge])
    shift = (recipe.size - scale * np.array([width, height])) / 2
    boxes = np.asarray(corners, dtype=np.float64).reshape(-1, 4) * np.tile(scale, 2) + np.tile(shift, 2)
    boxes /= recipe.size
    inside = boxes.clip(0, 1)
    area, seen = ((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (boxes, inside))
    return inside, np.divide(seen, area, out=np.zeros(len(boxes)), where=area > 0)


@dataclass(frozen=True)
class Masks(Sequence[NDArray[Any]]):
    """Masks that are read on demand; the values of a "mask" column.

    Args:
        sources: N arguments of ``read``.
        read: function that returns the mask of a source.
    """

    sources: tuple[Any, ...] = field(repr=False)
    read: Callable[[Any], NDArray[Any]]

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: Any) -> Any:
        return self.take(range(len(self))[index]) if isinstance(index, slice) else self.read(self.sources[index])

    def take(self, indices: Sequence[int]) -> Masks:
        """Return the given masks without reading them."""
        return Masks(tuple(self.sources[i] for i in indices), self.read)


def class_masks(paths: Sequence[str]) -> Column:
    """Return the "mask" column of N mask files: (H, W) int32, the numbers as stored."""
    return Column("mask", Masks(tuple(paths), open_mask))


def defect_masks(pairs: Sequence[tuple[str, str | None]]) -> Column:
    """Return the "mask" column of N (picture, mask file or None).

    A mask is (H, W) bool, True where the file is not 0, and all False without a file.
    """
    return Column("mask", Masks(tuple(pairs), _defect))


def _defect(pair: tuple[str, str | None]) -> NDArray[np.bool_]:
    picture, mask = pair
    if mask is not None:
        return np.not_equal(open_mask(mask), 0)
    width, height = image_size(picture)
    return np.zeros((height, width), dtype=bool)
