"""Sprite banks: shapes drawn by this code, and cut-outs or emoji read from data, as RGBA arrays with names.

A shape is an alpha mask with any colour and texture; a picture sprite (emoji, cut-out) has its own colours.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from diptych.core import DataError, NotAvailable
from diptych.data.rows import reading_parquet

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (214, 40, 40), "orange": (244, 140, 24), "yellow": (248, 216, 40), "green": (44, 160, 60),
    "cyan": (40, 196, 208), "blue": (36, 84, 210), "purple": (132, 50, 176), "pink": (248, 140, 190),
    "brown": (124, 76, 36), "gray": (132, 132, 132),
}  # fmt: skip
TEXTURES = ("plain", "striped", "dotted", "checkered")
_DRAWN = 192  # side of the original masks in pixels, which are larger than any use


def _polygon(corners: int, first: float = -90.0, inner: float | None = None) -> list[tuple[float, float]]:
    points = corners if inner is None else 2 * corners
    radii = [0.48 if inner is None or i % 2 == 0 else inner for i in range(points)]
    angles = [math.radians(first + 360.0 * i / points) for i in range(points)]
    return [(0.5 + r * math.cos(a), 0.5 + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


_POLYGONS: Mapping[str, list[tuple[float, float]]] = {
    "square": [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9)],
    "triangle": [(0.5, 0.06), (0.96, 0.9), (0.04, 0.9)],
    "diamond": [(0.5, 0.02), (0.84, 0.5), (0.5, 0.98), (0.16, 0.5)],
    "pentagon": _polygon(5),
    "hexagon": _polygon(6, 0.0),
    "star": _polygon(5, inner=0.19),
    "cross": [
        (x, y)
        for x, y in (
            (0.34, 0.04), (0.66, 0.04), (0.66, 0.34), (0.96, 0.34), (0.96, 0.66), (0.66, 0.66), (0.66, 0.96),
            (0.34, 0.96), (0.34, 0.66), (0.04, 0.66), (0.04, 0.34), (0.34, 0.34),
        )
    ],
    "arrow": [(0.02, 0.36), (0.52, 0.36), (0.52, 0.1), (0.98, 0.5), (0.52, 0.9), (0.52, 0.64), (0.02, 0.64)],
}  # fmt: skip
SHAPES = (
    "circle", "square", "triangle", "star", "heart", "cross", "diamond", "pentagon", "hexagon", "crescent", "ring",
    "arrow",
)  # fmt: skip


@cache
def shape_mask(shape: str) -> NDArray[np.uint8]:
    """Return the (192, 192) alpha mask of a shape, values 0 to 255.

    Raises:
        DataError: no shape of that name.
    """
    side = 2 * _DRAWN
    image = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(image)

    def box(x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
        return x0 * side, y0 * side, x1 * side, y1 * side

    if shape in _POLYGONS:
        draw.polygon([(x * side, y * side) for x, y in _POLYGONS[shape]], fill=255)
    elif shape == "circle":
        draw.ellipse(box(0.04, 0.04, 0.96, 0.96), fill=255)
    elif shape == "ring":
        draw.ellipse(box(0.03, 0.03, 0.97, 0.97), fill=255)
        draw.ellipse(box(0.29, 0.29, 0.71, 0.71), fill=0)
    elif shape == "crescent":
        draw.ellipse(box(0.06, 0.04, 0.98, 0.96), fill=255)
        draw.ellipse(box(0.36, 0.06, 1.16, 0.86), fill=0)
    elif shape == "heart":
        draw.ellipse(box(0.03, 0.08, 0.53, 0.58), fill=255)
        draw.ellipse(box(0.47, 0.08, 0.97, 0.58), fill=255)
        draw.polygon([(x * side, y * side) for x, y in ((0.07, 0.45), (0.93, 0.45), (0.5, 0.96))], fill=255)
    else:
        raise DataError(f"No shape is called {shape!r}: choose from {', '.join(SHAPES)}.")
    return np.asarray(image.resize((_DRAWN, _DRAWN), Image.Resampling.BOX))


def texture(name: str, side: int) -> NDArray[np.float32]:
    """Return a (side, side) field in [0, 1]: 1 keeps the colour, 0 takes the second, lighter colour.

    Raises:
        DataError: no texture of that name.
    """
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / max(side, 1)
    if name == "plain":
        return np.ones((side, side), np.float32)
    marks: NDArray[np.bool_]
    if name == "striped":
        marks = np.floor((x + y) * 5) % 2 == 0
    elif name == "dotted":
        marks = ((x * 5) % 1 - 0.5) ** 2 + ((y * 5) % 1 - 0.5) ** 2 > 0.075
    elif name == "checkered":
        marks = (np.floor(x * 5) + np.floor(y * 5)) % 2 == 0
    else:
        raise DataError(f"No texture is called {name!r}: choose from {', '.join(TEXTURES)}.")
    return marks.astype(np.float32)


@dataclass(frozen=True)
class Picture:
    """A sprite with its own colours.

    Args:
        name: English name, lower case, without an article.
        rgba: (H, W, 4) uint8.
        names: language code -> name.
    """

    name: str
    rgba: NDArray[np.uint8] = field(repr=False, compare=False)
    names: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class SpriteBank:
    """The shapes, colours, textures and pictures of scenes.

    Args:
        pictures: picture sprites; a scene object is a picture with probability ``picture_share``.
        picture_share: in [0, 1].
    """

    shapes: tuple[str, ...] = SHAPES
    colours: tuple[str, ...] = tuple(COLOURS)
    textures: tuple[str, ...] = ("plain",)
    pictures: tuple[Picture, ...] = ()
    picture_share: float = 0.5

    def combinations(self) -> tuple[tuple[str, str], ...]:
        """Return all (colour, shape) pairs, colours outermost."""
        return tuple((c, s) for c in self.colours for s in self.shapes)


def read_emoji(path: Path, style: str = "google", groups: frozenset[str] | None = None) -> tuple[Picture, ...]:
    """Read picture sprites from an emoji table (Parquet with columns name_en, name_<lang>, group, png_<style>).

    Args:
        path: the table.
        style: "google" or "twitter".
        groups: emoji groups to read; None: all.

    Raises:
        NotAvailable: no such file.
        DataError: a column is missing, or the file is damaged.
    """
    import pyarrow.parquet as pq

    if not path.is_file():
        raise NotAvailable(f"No emoji table at {path}: give the path of a Parquet file with names and PNG bytes.")
    with reading_parquet(path):
        table = pq.read_table(path)
    if missing := {"name_en", "group", f"png_{style}"} - set(table.column_names):
        raise DataError(f"{path} lacks the columns {', '.join(sorted(missing))}: is it an emoji table?")
    languages = [c[5:] for c in table.column_names if c.startswith("name_")]
    pictures = []
    for row in table.to_pylist():
        if groups is not None and row["group"] not in groups:
            continue
        with Image.open(io.BytesIO(row[f"png_{style}"])) as image:
            rgba = np.asarray(image.convert("RGBA"))
        pictures.append(
            Picture(
                row["name_en"].lower(), rgba, {code: row[f"name_{code}"] for code in languages if row[f"name_{code}"]}
            )
        )
    return tuple(pictures)
