"""Captions of pictures: those that a table holds, or a few words about colour and light, which anybody can compute."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from diptych.core.data import Table

COLOURS = {
    "black": (20, 20, 20),
    "grey": (128, 128, 128),
    "white": (235, 235, 235),
    "red": (190, 40, 40),
    "orange": (230, 140, 40),
    "yellow": (230, 215, 70),
    "green": (60, 140, 60),
    "blue": (50, 90, 180),
    "light blue": (150, 195, 230),
    "purple": (125, 60, 145),
    "pink": (235, 160, 185),
    "brown": (115, 75, 45),
    "beige": (215, 195, 160),
}
"""Name -> RGB in [0, 255]: a pixel has the name of the nearest."""


def colour_phrase(image: Image.Image) -> str:
    """Return the two commonest colours of a picture and how light it is, such as "Mostly white and blue, in bright light."."""
    pixels = np.asarray(image.convert("RGB").resize((16, 16), Image.Resampling.BOX), dtype=np.float64).reshape(-1, 3)
    palette = np.array(list(COLOURS.values()), dtype=np.float64)
    nearest = ((pixels[:, None] - palette) ** 2).sum(axis=2).argmin(axis=1)
    counts = np.bincount(nearest, minlength=len(palette))
    names = [list(COLOURS)[i] for i in np.argsort(-counts, kind="stable")[:2] if counts[i]]
    light = float(pixels.mean())
    return f"Mostly {' and '.join(names)}, in {'bright' if light > 170 else 'dim' if light < 85 else 'soft'} light."


def captions(table: Table[Any]) -> tuple[str, ...]:
    """Return a caption of each of N items: the first of its column "captions", or a colour phrase where there is no such column.

    "" where an item has no caption, or is no picture.
    """
    column = table.columns.get("captions")
    if column is not None:
        return tuple(next(iter(own), "") for own in column.values)
    found = []
    for i in range(len(table)):
        item = table.items[i]
        found.append(colour_phrase(item) if isinstance(item, Image.Image) else "")
    return tuple(found)
