"""Shapes as samples: the points of an object, and a picture of it from a known side."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.core import DataError, Samples
from diptych.data.formats.arrays import array_key

Camera: TypeAlias = tuple[float, float]
"""Elevation above the horizon and azimuth round the vertical axis, in degrees; (0, 0) looks at the front."""


@dataclass(frozen=True)
class Shape:
    """One object.

    Args:
        points: (P, 3) points x, y, z, with y up and the front at positive z.
        picture: photo or rendered picture of the object on white; None: there is none.
        camera: from where the picture was taken.
    """

    points: NDArray[np.float32]
    picture: Image.Image | None = None
    camera: Camera = (0.0, 0.0)


@dataclass(frozen=True)
class Shapes:
    """Shapes in memory as samples.

    Args:
        names: N names.
        shapes: N shapes.
    """

    names: tuple[str, ...]
    shapes: Sequence[Shape] = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int, /) -> Shape:
        return self.shapes[index]

    def key(self, index: int, /) -> str:
        """Return the hash of points, picture and camera."""
        shape = self.shapes[index]
        picture = "" if shape.picture is None else _picture_key(shape.picture)
        return hashlib.sha256(f"{array_key(shape.points)}/{picture}/{shape.camera}".encode()).hexdigest()

    def name(self, index: int, /) -> str:
        """Return the object's name."""
        return self.names[index]


@dataclass(frozen=True)
class ShapePictures:
    """The pictures of shapes as samples.

    Args:
        shapes: N shapes with a picture each.

    Raises:
        DataError: a shape has no picture.
    """

    shapes: Samples[Shape]

    def __post_init__(self) -> None:
        for i in range(len(self.shapes)):
            if getattr(self.shapes[i], "picture", None) is None:
                raise DataError(f"{self.shapes.name(i)} has no picture: leave it out, or give one.")

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int, /) -> Image.Image:
        picture = self.shapes[index].picture
        assert picture is not None
        return picture

    def key(self, index: int, /) -> str:
        """Return the hash of the picture."""
        return _picture_key(self[index])

    def name(self, index: int, /) -> str:
        """Return the name of the shape."""
        return self.shapes.name(index)


@dataclass(frozen=True)
class WithoutPictures:
    """Shapes without their pictures, whose keys do not depend on these.

    Args:
        shapes: N shapes.
    """

    shapes: Samples[Shape]

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int, /) -> Shape:
        return replace(self.shapes[index], picture=None)

    def key(self, index: int, /) -> str:
        """Return the hash of points and camera."""
        shape = self.shapes[index]
        return hashlib.sha256(f"{array_key(shape.points)}/{shape.camera}".encode()).hexdigest()

    def name(self, index: int, /) -> str:
        """Return the name of the shape."""
        return self.shapes.name(index)


def points_of(item: Any) -> NDArray[np.float32]:
    """Return the (P, 3) points of a shape or a cloud.

    Raises:
        DataError: the item is neither, or has points that are not finite.
    """
    points = item.points if isinstance(item, Shape) else item
    if not isinstance(points, np.ndarray) or points.ndim != 2 or points.shape[1] != 3 or not len(points):
        kind = f"an array of shape {points.shape}" if isinstance(points, np.ndarray) else f"a {type(points).__name__}"
        raise DataError(f"A point cloud is an array of shape (P, 3) with P of at least 1, got {kind}.")
    if not (finite := np.isfinite(points).all(1)).all():
        raise DataError(f"{int((~finite).sum())} of {len(points)} points are not finite: leave them out.")
    return points


def _picture_key(picture: Image.Image) -> str:
    return hashlib.sha256(f"{picture.mode}/{picture.size}/".encode() + picture.tobytes()).hexdigest()
