"""The pictures that the mask proposer learns from: cut-outs pasted on photos and on areas of texture, with true masks.

- Cut-outs: furniture renders and groceries on white (their ground is what is white from the border on), and emoji.
- Grounds: a photo; or two to four areas with curved borders, each an enlarged small part of a photo.

A picture is fixed by (sources, seed, number). All sources may be used and passed on (NOTICE); no label is read.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter
from scipy import ndimage

from recipes.lite_pictures import photo_paths

LONG = 320
"""Longer side of a picture in pixels."""
WHITE = 20
"""A ground differs from white by at most this in every channel; JPEG spoils it round things."""
VISIBLE = 60
"""Least visible pixels of an object or area that counts."""


@dataclass(frozen=True)
class Picture:
    """A composed picture.

    Args:
        image: RGB.
        masks: (n, H, W) bool visible pixels of objects, and of areas of texture.
        known: (H, W) bool: pixels whose true region is known; those of a photo as ground are not.
    """

    image: Image.Image
    masks: NDArray[np.bool_]
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class Sources:
    """What pictures are composed of.

    Args:
        rendered: RGBA cut-outs of renders and product photos.
        drawn: RGBA emoji.
        photos: RGB grounds.
    """

    rendered: tuple[Image.Image, ...]
    drawn: tuple[Image.Image, ...]
    photos: tuple[Image.Image, ...]


def open_sources(data: Path) -> Sources:
    """Read the sources.

    Args:
        data: folder of the development sets.

    Raises:
        NotAvailable: a set is missing.
    """
    from pyarrow import parquet

    every = photo_paths(data)
    renders = [p for p in every if "furniture3d" in p.parts]
    with (data / "grocery_packages" / "catalogue.csv").open(encoding="utf-8", newline="") as file:
        products = sorted(row["iconic_image"] for row in csv.DictReader(file))
    renders += [data / "grocery_packages" / p for p in products]
    table = parquet.read_table(data / "emoji" / "emoji.parquet").to_pylist()
    drawn = [
        Image.open(io.BytesIO(row[f"png_{style}"])).convert("RGBA")
        for row in table
        if row["group"] not in ("flags", "symbols")
        for style in ("google", "twitter")
        if row[f"png_{style}"]
    ]
    cuts = (cut_out(Image.open(p).convert("RGB")) for p in renders)
    photos = (_small(Image.open(p)) for p in every if "furniture3d" not in p.parts)
    return Sources(tuple(c for c in cuts if c is not None), tuple(drawn), tuple(photos))


def cut_out(picture: Image.Image) -> Image.Image | None:
    """Return the thing of a picture on white as RGBA, cut to its box; None where the ground is not white.

    Example:
        >>> shown = Image.new("RGB", (20, 20), "white")
        >>> shown.paste("red", (5, 5, 15, 15))
        >>> cut_out(shown).size
        (10, 10)
    """
    pixels = np.asarray(picture)
    areas, _ = ndimage.label(pixels.min(-1) >= 255 - WHITE)
    edge = np.unique(np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]]))
    thing = ndimage.binary_erosion(ndimage.binary_opening(~np.isin(areas, edge[edge > 0])), border_value=1)
    if not 0.03 <= thing.mean() <= 0.9:
        return None
    alpha = Image.fromarray((thing * 255).astype(np.uint8))
    return Image.merge("RGBA", (*picture.split(), alpha)).crop(alpha.getbbox())


def compose(sources: Sources, seed: int, number: int) -> Picture:
    """Return a picture."""
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, number], np.uint64)))
    short = int(LONG * rng.uniform(0.62, 0.85))
    size = (LONG, short) if rng.random() < 0.75 else (short, LONG)
    areas = rng.random() < 0.6
    ground, owner = _areas(sources, size, rng) if areas else (_crop(sources, size, rng, 0.5, 1.0), None)
    shown = np.zeros((size[1], size[0]), dtype=np.int32) if owner is None else owner
    first = int(shown.max()) + 1
    for i in range(int(rng.integers(1, 8))):
        thing = _thing(sources, min(size), rng)
        x, y = (int(rng.integers(-length // 4, max(1, side - 3 * length // 4)))
                for length, side in zip(thing.size, size, strict=True))  # fmt: skip
        alpha = thing.getchannel("A")
        ground.paste(thing.convert("RGB"), (x, y), alpha.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.0))))
        whole = Image.new("L", size)
        whole.paste(alpha, (x, y))
        shown[np.asarray(whole) >= 128] = first + i
    masks = [shown == n for n in np.unique(shown) if n > 0 and (shown == n).sum() >= VISIBLE]
    stacked = np.stack(masks) if masks else np.zeros((0, *shown.shape), dtype=bool)
    return Picture(_camera(ground, rng), stacked, shown > 0)


def _small(photo: Image.Image) -> Image.Image:
    photo = photo.convert("RGB")
    photo.thumbnail((LONG, LONG), Image.Resampling.BILINEAR)
    return photo


def _crop(sources: Sources, size: tuple[int, int], rng: np.random.Generator, least: float, most: float) -> Image.Image:
    """Return a part of a photo, its height and width a share of the photo's, resized."""
    photo = sources.photos[int(rng.integers(len(sources.photos)))]
    share = rng.uniform(least, most)
    w, h = (max(8, int(share * side)) for side in photo.size)
    x, y = int(rng.integers(photo.width - w + 1)), int(rng.integers(photo.height - h + 1))
    return photo.resize(size, Image.Resampling.BICUBIC, box=(x, y, x + w, y + h))


def _areas(sources: Sources, size: tuple[int, int], rng: np.random.Generator) -> tuple[Image.Image, NDArray[np.int32]]:
    """Return a ground of areas, and the (H, W) number of each pixel's area, from 1.

    A pixel belongs to the nearest of some points; distances are bent by smooth noise, and heights count more.
    """
    count = int(rng.integers(2, 5))
    y, x = np.mgrid[: size[1], : size[0]] / LONG
    points, stretch = rng.random((count, 2)), rng.uniform(0.2, 1.0)
    bends = [ndimage.zoom(rng.normal(0, 0.12, (6, 6)), (size[1] / 6, size[0] / 6), order=3) for _ in range(count)]
    far = [stretch * (x - p[0]) ** 2 + (y - p[1]) ** 2 + b[: size[1], : size[0]] * 0.5
           for p, b in zip(points, bends, strict=True)]  # fmt: skip
    owner = np.argmin(far, axis=0).astype(np.int32) + 1
    ground = Image.new("RGB", size)
    for n in range(1, count + 1):
        texture = _crop(sources, size, rng, 0.08, 0.35)
        ground.paste(texture, (0, 0), Image.fromarray(((owner == n) * 255).astype(np.uint8)))
    parts = np.zeros_like(owner)
    for n in range(1, count + 1):  # an area in two places is two areas
        components = ndimage.label(owner == n)[0]
        parts[components > 0] = components[components > 0] + parts.max()
    return ground, parts


def _thing(sources: Sources, side: int, rng: np.random.Generator) -> Image.Image:
    """Return a cut-out, turned, mirrored, resized and in another light."""
    bank = sources.rendered if rng.random() < 0.7 else sources.drawn
    thing = bank[int(rng.integers(len(bank)))]
    length = side * float(np.exp(rng.uniform(np.log(0.12), np.log(0.85))))
    ratio = length / max(thing.size)
    w, h = (max(4, round(ratio * s)) for s in thing.size)
    thing = thing.resize((max(4, int(w * rng.uniform(0.8, 1.2))), h), Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        thing = thing.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    thing = thing.rotate(float(rng.normal(0, 15)), Image.Resampling.BICUBIC, expand=True)
    alpha = thing.getchannel("A")
    light = _light(thing.convert("RGB"), rng)
    light.putalpha(alpha)
    return light


def _light(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    for kind, low, high in (
        (ImageEnhance.Brightness, 0.5, 1.3),
        (ImageEnhance.Contrast, 0.6, 1.2),
        (ImageEnhance.Color, 0.3, 1.3),
    ):
        picture = kind(picture).enhance(float(rng.uniform(low, high)))
    return picture


def _camera(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture, a little blurred, in another light, and as JPEG stores it."""
    picture = _light(picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 0.8)))), rng)
    stored = io.BytesIO()
    picture.save(stored, "JPEG", quality=int(rng.integers(55, 95)))
    return Image.open(stored).convert("RGB")
