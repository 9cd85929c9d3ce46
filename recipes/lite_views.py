"""Views of a photo that leave what it shows and change how it looks: few pixels, edges, pencil, posters, paint, grey.

Every function takes an (S, S, 3) uint8 picture and a NumPy generator, and returns such a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from scipy import ndimage

Picture = NDArray[np.uint8]
View = Callable[[Picture, np.random.Generator], Picture]

_FILTERS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


def low_resolution(x: Picture, g: np.random.Generator, side: int | None = None) -> Picture:
    """Return the picture made small, to 14 to 72 pixels (log-uniform) or ``side``, and large again."""
    small = side or round(float(np.exp(g.uniform(np.log(14), np.log(72)))))
    down = _FILTERS[int(g.integers(4))]
    up = _FILTERS[1 + int(g.integers(2))]
    return np.asarray(Image.fromarray(x).resize((small, small), down).resize(x.shape[1::-1], up))


def edges(x: Picture, g: np.random.Generator) -> Picture:
    """Return lines where the grey picture changes, mostly dark on light: a threshold on the smoothed gradient."""
    smooth = ndimage.gaussian_filter(_grey(x), g.uniform(0.7, 2.5))
    gradient = np.hypot(ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1))
    level = float(np.percentile(gradient, g.uniform(80, 94)))
    lines = np.clip((gradient - 0.6 * level) / (0.8 * level + 1e-3), 0, 1)
    if g.random() < 0.3:
        lines = ndimage.grey_dilation(lines, size=(3, 3))
    return _inked(lines, g)


def contours(x: Picture, g: np.random.Generator) -> Picture:
    """Return thin lines: zeros of the difference of two Gaussians of the grey picture, where the contrast is large."""
    grey, sigma = _grey(x), g.uniform(1.0, 3.0)
    difference = ndimage.gaussian_filter(grey, sigma) - ndimage.gaussian_filter(grey, 1.6 * sigma)
    sign = difference > 0
    border = sign != ndimage.binary_erosion(sign)
    contrast = ndimage.maximum_filter(np.abs(difference), size=5)
    lines = (border & (contrast > np.percentile(contrast, g.uniform(50, 80)))).astype(np.float64)
    return _inked(ndimage.gaussian_filter(lines, g.uniform(0.4, 0.9)) * 2, g)


def pencil(x: Picture, g: np.random.Generator) -> Picture:
    """Return grey strokes: the grey picture over its blurred self."""
    grey = _grey(x)
    drawn = np.clip(grey / np.maximum(ndimage.gaussian_filter(grey, g.uniform(2, 8)), 8), 0, 1) ** g.uniform(2, 8)
    return _inked(1 - drawn, g)


def poster(x: Picture, g: np.random.Generator) -> Picture:
    """Return flat areas of few strong colours, half of the time with dark outlines, as cartoons have."""
    image = Image.fromarray(x).filter(ImageFilter.MedianFilter(int(g.choice((3, 3, 5)))))
    image = ImageEnhance.Color(image).enhance(g.uniform(1.0, 2.5))
    if g.random() < 0.5:
        flat = ImageOps.posterize(image, int(g.integers(1, 4)))
    else:
        flat = image.quantize(int(g.integers(3, 14)), dither=Image.Dither.NONE).convert("RGB")
    out = np.asarray(flat).astype(np.float64)
    if g.random() < 0.5:
        smooth = ndimage.gaussian_filter(_grey(np.asarray(image)), 1.0)
        gradient = np.hypot(ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1))
        level = float(np.percentile(gradient, g.uniform(85, 95)))
        out = out * (1 - np.clip((gradient - 0.6 * level) / (0.8 * level + 1e-3), 0, 1))[..., None]
    return _whole(out)


def paint(x: Picture, g: np.random.Generator) -> Picture:
    """Return broad strokes: the most frequent grey level of a neighbourhood, other colours, a grainy surface."""
    image = Image.fromarray(x).filter(ImageFilter.ModeFilter(int(g.choice((5, 7)))))
    grain = ndimage.gaussian_filter(g.normal(size=x.shape[:2]), g.uniform(0.5, 1.5))
    grain *= g.uniform(0, 14) / max(float(grain.std()), 1e-6)
    return _whole(recolour(np.asarray(image), g) + grain[..., None])


def recolour(x: Picture, g: np.random.Generator) -> Picture:
    """Return other colours: channels mixed by a random matrix near the identity, brightness and contrast changed."""
    mix = np.eye(3) * g.uniform(0.5, 1.1) + g.uniform(-0.1, 0.5, (3, 3)) * g.uniform(0, 0.8)
    mixed = x.reshape(-1, 3).astype(np.float64) @ (mix / mix.sum(1, keepdims=True)).T
    out = (mixed - 128) * g.uniform(0.6, 1.5) + 128 + g.uniform(-40, 40)
    return _whole(out.reshape(x.shape))


def grey(x: Picture, g: np.random.Generator) -> Picture:
    """Return the picture in grey, in a fifth of the draws in black and white."""
    tone = _grey(x)
    if g.random() < 0.2:
        tone = 255 / (1 + np.exp(-np.clip((tone - np.percentile(tone, g.uniform(30, 70))) / 6, -30, 30)))
    else:
        tone = (tone - 128) * g.uniform(0.7, 1.6) + 128
    return _three(tone)


def blurred(x: Picture, g: np.random.Generator) -> Picture:
    """Return the picture out of focus, or grainy."""
    if g.random() < 0.5:
        return np.asarray(Image.fromarray(x).filter(ImageFilter.GaussianBlur(g.uniform(1, 5))))
    return _whole(x + g.normal(0, g.uniform(8, 45), x.shape))


VIEWS: Mapping[str, tuple[float, View]] = MappingProxyType(
    {
        "low resolution": (0.28, low_resolution),
        "edges": (0.16, edges),
        "contours": (0.08, contours),
        "pencil": (0.08, pencil),
        "poster": (0.16, poster),
        "paint": (0.08, paint),
        "grey": (0.06, grey),
        "recolour": (0.05, recolour),
        "blurred": (0.05, blurred),
    }
)
"""View -> (share of the draws, function)."""


def any_view(x: Picture, g: np.random.Generator) -> Picture:
    """Return one view drawn by its share, and in a tenth of the draws few pixels on top."""
    names = list(VIEWS)
    _, view = VIEWS[names[int(g.choice(len(names), p=[share for share, _ in VIEWS.values()]))]]
    out = view(x, g)
    return low_resolution(out, g) if view is not low_resolution and g.random() < 0.1 else out


def crop(image: Image.Image, side: int, g: np.random.Generator) -> Picture:
    """Return a (side, side, 3) crop of 35 to 100 % of the area, 3:4 to 4:3, mirrored in half of the draws."""
    width, height = image.size
    for _ in range(10):
        area, shape = g.uniform(0.35, 1.0) * width * height, np.exp(g.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = (area * shape) ** 0.5, (area / shape) ** 0.5
        if w <= width and h <= height:
            break
    else:
        w = h = min(width, height)
    left, top = g.uniform(0, width - w), g.uniform(0, height - h)
    out = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC, (left, top, left + w, top + h), 3.0)
    return np.asarray(out if g.random() < 0.5 else ImageOps.mirror(out))


def placed(rgba: Picture, ink: bool, behind: Picture, g: np.random.Generator) -> Picture:
    """Return a drawing turned, scaled and laid on white, on a plain colour or on a photo; ink gets a colour.

    Args:
        rgba: (S, S, 4) uint8.
        ink: whether its colour may be chosen: mostly dark on light.
        behind: (S, S, 3) photo, used in a seventh of the draws for coloured drawings.
        g: draws.
    """
    size = len(rgba)
    image = Image.fromarray(rgba)
    image = ImageOps.mirror(image) if g.random() < 0.5 else image
    image = image.rotate(g.normal(0, 10), Image.Resampling.BILINEAR)
    side = round(size * g.uniform(0.5, 1.0))
    squeezed = image.resize((side, round(side * g.uniform(0.85, 1.0))), Image.Resampling.BILINEAR)
    sheet = Image.new("RGBA", (size, size))
    left, top = (int(g.integers(0, size - s + 1)) for s in squeezed.size)
    sheet.paste(squeezed, (left, top))
    laid = np.asarray(sheet).astype(np.float64)
    alpha, colour = laid[..., 3:] / 255, laid[..., :3]
    kind = g.random()
    light = np.full(3, 255.0) if kind < 0.5 else g.uniform(150, 255, 3) if kind < 0.75 else g.uniform(0, 255, 3)
    ground = np.broadcast_to(light, colour.shape)
    if ink:
        dark = np.zeros(3) if g.random() < 0.6 else g.uniform(0, 0.45, 3) * light.mean()
        colour = np.broadcast_to(dark if light.mean() > 90 else g.uniform(170, 255, 3), colour.shape)
    elif g.random() < 1 / 7:
        ground = behind.astype(np.float64)
    return (colour * alpha + ground * (1 - alpha)).astype(np.uint8)


def _grey(x: Picture) -> NDArray[np.float64]:
    weighed: NDArray[np.float64] = x.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return weighed


def _whole(x: NDArray[np.float64]) -> Picture:
    return np.clip(x, 0, 255).astype(np.uint8)


def _three(tone: NDArray[np.float64]) -> Picture:
    return np.repeat(_whole(tone)[..., None], 3, axis=2)


def _inked(lines: NDArray[np.float64], g: np.random.Generator) -> Picture:
    """Return lines (0 to 1) dark on light, in an eighth of the draws light on dark."""
    dark = g.uniform(0, 60)
    tone = 255 - np.clip(lines, 0, 1) * (255 - dark)
    return _three(255 - tone if g.random() < 0.125 else tone)
