"""Label maps as pictures: one colour a class, laid over the photo, with a legend beside it.

Anomaly maps are the photo, warm where it is unlike a normal one, or the warm colours alone.
"""

from __future__ import annotations

import colorsys
import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from diptych.core import UsageError
from diptych.core.void import WIDE

Colour = tuple[int, int, int]


def palette(classes: int, *, background: bool = False) -> list[Colour]:
    """Return K colours, neighbours far apart in hue; with ``background`` the first is black.

    Raises:
        UsageError: more classes than a map of 16 bits holds.
    """
    if classes > WIDE:
        raise UsageError(
            f"A label map holds {WIDE:,} classes, not {classes:,}: give fewer names, or segment in two runs."
        )
    hues = [(0.02 + 0.61803399 * k) % 1 for k in range(classes - background)]
    # hues come near again after 8, 13 and 21 classes: five shades keep those apart, as three do not
    shades = ((0.75, 0.95), (0.95, 0.70), (0.45, 1.0), (0.80, 0.55), (0.65, 0.85))
    colours = [colorsys.hsv_to_rgb(hue, *shades[k // 2 % len(shades)]) for k, hue in enumerate(hues)]
    painted = [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in colours]
    return [(0, 0, 0), *painted] if background else painted


def label_png(labels: NDArray[np.integer], colours: Sequence[Colour]) -> bytes:
    """Return the PNG of a label map: pixel values are class positions, shown in the colours of its palette.

    A map of 16 bits, which has more than 255 classes, is grey: PNG has no such palette.

    Args:
        labels: (H, W) class positions, of 16 bits where they are uint16.
        colours: K colours.
    """
    if labels.dtype == np.uint16:
        return png(Image.fromarray(labels))
    image = Image.fromarray(labels.astype(np.uint8))
    image.putpalette([part for colour in colours for part in colour])
    return png(image)


def overlay(
    photo: Image.Image,
    labels: NDArray[np.integer],
    colours: Sequence[Colour],
    legend: Mapping[int, str],
    *,
    background: bool = False,
    opacity: float = 0.55,
    parts: NDArray[np.integer] | None = None,
) -> Image.Image:
    """Return the photo with its label map over it, class borders in white, and the legend on the right.

    Args:
        photo: (H, W) RGB.
        labels: (H, W) class positions.
        colours: K colours.
        legend: class position -> line of the legend, in the order shown.
        background: leave class 0 as the photo is.
        opacity: of the colours, in [0, 1].
        parts: (H, W) numbers of segments, 0 for void; where two of them touch, their border is white too. None: classes
            alone have borders.
    """
    seen = np.asarray(photo.convert("RGB")).astype(np.float32)
    share = np.full(labels.shape, opacity, dtype=np.float32)
    if background:
        share[labels == 0] = 0
    border = np.zeros(labels.shape, dtype=bool)
    _draw(border, labels, np.ones_like(border))
    if parts is not None:
        _draw(border, parts, parts > 0)
    painted = seen + share[..., None] * (np.asarray(colours, dtype=np.float32)[labels] - seen)
    painted[border] = 255
    return _with_legend(
        Image.fromarray(painted.round().astype(np.uint8)), [(colours[k], text) for k, text in legend.items()]
    )


def _draw(border: NDArray[np.bool_], numbers: NDArray[np.integer], counted: NDArray[np.bool_]) -> None:
    """Mark the counted pixels whose counted left or upper neighbour has another number. ``border`` is modified."""
    border[:, 1:] |= (numbers[:, 1:] != numbers[:, :-1]) & counted[:, 1:] & counted[:, :-1]
    border[1:] |= (numbers[1:] != numbers[:-1]) & counted[1:] & counted[:-1]


def _with_legend(image: Image.Image, lines: Sequence[tuple[Colour, str]]) -> Image.Image:
    size = _text_size(image)
    font, step = ImageFont.load_default(size), round(1.6 * size)
    draw = ImageDraw.Draw(image)
    wide = round(max((draw.textlength(text, font=font) for _, text in lines), default=0)) + 3 * size
    sheet = Image.new("RGB", (image.width + wide, max(image.height, step * len(lines) + size)), "white")
    sheet.paste(image)
    draw = ImageDraw.Draw(sheet)
    for row, (colour, text) in enumerate(lines):
        left, top = image.width + size // 2, size // 2 + row * step
        draw.rectangle((left, top, left + size, top + size), fill=colour, outline=(90, 90, 90))
        draw.text((left + round(1.6 * size), top + size / 2), text, fill=(20, 20, 20), font=font, anchor="lm")
    return sheet


def _text_size(image: Image.Image) -> int:
    """Return the height of letters that can be read beside a picture, of a strip too: 12 pixels or more."""
    return max(12, round(math.sqrt(image.width * image.height) / 32))


def png(image: Image.Image) -> bytes:
    """Return a picture as PNG, which keeps what is transparent; packed in a fifth of the usual time, and 8 % larger."""
    out = io.BytesIO()
    image.save(out, "png", compress_level=1)
    return out.getvalue()


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
    size = _text_size(photo)
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
