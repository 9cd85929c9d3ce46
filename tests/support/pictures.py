"""Seeded pictures of K classes, in memory: a colour a class, noise a picture."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from PIL import Image

from diptych.core import ClassNames, Column, Evidence, Table, Text, TextPool

NAMES = ("red fox", "oak tree", "tea cup", "sea horse")
FEATURES = {
    "red fox": ("bushy tail", "pointed ears", "a white chin"),
    "oak tree": ("lobed leaves", "rough bark"),
    "tea cup": ("used for drinking", "curved handle", "round saucer", "thin rim"),
    "sea horse": ("curled tail", "often under water"),
}


@dataclass(frozen=True)
class Pictures:
    images: tuple[Image.Image, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Image.Image:
        return self.images[index]

    def key(self, index: int) -> str:
        return hashlib.sha256(self.images[index].tobytes()).hexdigest()

    def name(self, index: int) -> str:
        return f"picture {index}"


def picture(label: int, seed: int, noise: float = 40.0) -> Image.Image:
    base = 128 + 110 * np.cos(np.array([0.0, 2.1, 4.2]) + 1.6 * label)
    own = np.random.default_rng([9, label, seed]).normal(0, noise, size=(12, 12, 3))
    return Image.fromarray(np.clip(base + own, 0, 255).astype(np.uint8))


def table(labels: Sequence[int], seed: int) -> Table[Image.Image]:
    """One picture a label; labels are read-only, so whoever writes into them fails."""
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
