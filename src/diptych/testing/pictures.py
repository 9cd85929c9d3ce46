"""Seeded pictures in memory: of K classes, a colour a class and noise a picture; and of a surface, with a scratch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.core import ClassNames, Column, Evidence, Table, Text, TextPool

SURFACE = 48
"""Width of the pictures of a surface, in pixels."""
NAMES = ("red fox", "oak tree", "tea cup", "sea horse")
FEATURES = {
    "red fox": ("bushy tail", "pointed ears", "a white chin"),
    "oak tree": ("lobed leaves", "rough bark"),
    "tea cup": ("used for drinking", "curved handle", "round saucer", "thin rim"),
    "sea horse": ("curled tail", "often under water"),
}


@dataclass(frozen=True)
class Pictures:
    """Pictures as samples.

    Args:
        images: the pictures.
    """

    images: tuple[Image.Image, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Image.Image:
        return self.images[index]

    def key(self, index: int) -> str:
        """Return the SHA-256 of the pixels."""
        return hashlib.sha256(self.images[index].tobytes()).hexdigest()

    def name(self, index: int) -> str:
        """Return "picture" and its number."""
        return f"picture {index}"


def picture(label: int, seed: int, noise: float = 40.0) -> Image.Image:
    """Return a noisy picture of 12 x 12 pixels in the colour of its class."""
    base = 128 + 110 * np.cos(np.array([0.0, 2.1, 4.2]) + 1.6 * label)
    pixels = np.random.default_rng([9, label, seed]).normal(0, noise, size=(12, 12, 3))
    return Image.fromarray(np.clip(base + pixels, 0, 255).astype(np.uint8))


def table(labels: Sequence[int], seed: int) -> Table[Image.Image]:
    """One picture per label; labels are read-only, so whoever writes into them fails."""
    values = np.asarray(labels, dtype=np.int64)
    values.flags.writeable = False
    images = tuple(picture(k, 1000 * seed + i) for i, k in enumerate(labels))
    return Table(Pictures(images), {"label": Column("label", values)})


def texts(names: Sequence[str] = NAMES) -> TextPool:
    """Features of each class, and two texts for each ordered pair of classes."""
    pool = {name: tuple(Text(feature) for feature in FEATURES[name]) for name in names}
    for a, b in permutations(names, 2):
        pool[f"{a} | {b}"] = tuple(
            Text(f"a {a} with {mine}, not {other}.") for mine, other in zip(FEATURES[a], FEATURES[b], strict=False)
        )
    return TextPool(pool)


def task(classes: int = 3, shots: int = 4) -> tuple[ClassNames, Evidence[Image.Image], Table[Image.Image]]:
    """Return names, evidence (train, val, texts, unlabelled) and a test table."""
    names = ClassNames(NAMES[:classes])
    train, val, test = (table(list(range(classes)) * n, seed) for seed, n in ((1, shots), (2, 4), (3, 3)))
    unlabelled = table(list(range(classes)) * 3, 4).items
    return names, Evidence(train=train, val=val, texts=texts(names.names), unlabelled=unlabelled), test


def surface(seed: int, scratch: bool) -> tuple[Image.Image, NDArray[np.bool_]]:
    """Return a noisy blue picture of 48 x 40 pixels and the (40, 48) mask of its red scratch."""
    rng = np.random.default_rng([7, seed])
    pixels = np.array([60, 80, 200]) + rng.normal(0, 12, (40, SURFACE, 3))
    mask = np.zeros((40, SURFACE), dtype=bool)
    if scratch:
        top, left = rng.integers(2, 20), rng.integers(2, 24)
        mask[top : top + 14, left : left + 18] = True
        pixels[mask] = np.array([230, 40, 40])
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), mask


def scratched(normal: int, anomalous: int, seed: int) -> Table[Image.Image]:
    """Return a table with labels and masks, normal pictures first."""
    surfaces = [surface(1000 * seed + i, i >= normal) for i in range(normal + anomalous)]
    labels = np.repeat([0, 1], [normal, anomalous])
    columns = {"label": Column("label", labels), "mask": Column("mask", tuple(mask for _, mask in surfaces))}
    return Table(Pictures(tuple(image for image, _ in surfaces)), columns)
