"""Painting of scenes: a background, then objects in order, which are coloured shapes or cut-out pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.data.scenes.sprites import COLOURS, Picture, shape_mask, texture

Background = Literal["light", "dark", "gradient", "noise"]
BACKGROUNDS: tuple[Background, ...] = ("light", "dark", "gradient", "noise")
_LARGE = 0.34  # least side of a large object, as a share of the picture's side


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene.

    Args:
        noun: shape or picture name.
        colour: colour name; None for picture sprites.
        texture: texture name; None for picture sprites.
        centre: (x, y) in [0, 1].
        side: side of its square in [0, 1] of the picture's side.
        turn: rotation in degrees, counter-clockwise; 0 for a picture.
        picture: number of the picture sprite in the bank; None for shapes.
    """

    noun: str
    colour: str | None
    texture: str | None
    centre: tuple[float, float]
    side: float
    turn: float = 0.0
    picture: int | None = None

    @property
    def size(self) -> str:
        """Return "large" or "small"."""
        return "large" if self.side >= _LARGE else "small"


def canvas_of(kind: Background, size: int, g: np.random.Generator) -> NDArray[np.float32]:
    """Return (size, size, 3) pixels in [0, 255] of one kind of background, in random colours."""
    low, high = (190, 255) if kind == "light" else (0, 60) if kind == "dark" else (40, 230)
    first = g.uniform(low, high, 3).astype(np.float32)
    if kind == "gradient":
        ramp = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
        ramp = ramp if g.random() < 0.5 else ramp.transpose(1, 0, 2)
        return np.broadcast_to(
            first * (1 - ramp) + g.uniform(low, high, 3).astype(np.float32) * ramp, (size, size, 3)
        ).copy()
    canvas = np.broadcast_to(first, (size, size, 3)).astype(np.float32)
    if kind == "noise":
        coarse = Image.fromarray(g.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize(
            (size, size), Image.Resampling.BICUBIC
        )
        canvas = 0.65 * canvas + 0.35 * np.asarray(coarse, np.float32)
    return canvas


def paint(
    canvas: NDArray[np.float32], item: SceneObject, pictures: tuple[Picture, ...], shade: float
) -> NDArray[np.bool_]:
    """Paint one object on the canvas, which is modified in place, and return its (S, S) mask.

    Args:
        canvas: (S, S, 3) pixels in [0, 255].
        item: the object, with its position.
        pictures: pictures of the bank, indexed by ``item.picture``.
        shade: factor of a shape's colour.
    """
    size = canvas.shape[0]
    side = max(3, round(item.side * size))
    if item.picture is None:
        tile = Image.fromarray(shape_mask(item.noun)).resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
        base = np.asarray(COLOURS[item.colour or "gray"], np.float32) * shade
        keep = texture(item.texture or "plain", side)[..., None]
        colour = base * keep + (0.35 * base + 0.65 * 255) * (1 - keep)
    else:
        sprite = pictures[item.picture].rgba
        scaled = Image.fromarray(sprite).resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
        colour = np.asarray(scaled, np.float32)[..., :3]
        tile = scaled.getchannel("A")
    if item.turn:
        tile = tile.rotate(item.turn, Image.Resampling.BILINEAR)
    alpha = np.asarray(tile, np.float32) / 255
    left, top = round(item.centre[0] * size - side / 2), round(item.centre[1] * size - side / 2)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, size), min(top + side, size)
    mask = np.zeros((size, size), bool)
    if x0 >= x1 or y0 >= y1:
        return mask
    window, inside = (slice(y0, y1), slice(x0, x1)), (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    a = alpha[inside][..., None]
    canvas[window] = canvas[window] * (1 - a) + colour[inside] * a
    mask[window] = alpha[inside] > 0.5
    return mask
