"""Seeded pictures of K classes, in memory: a colour a class, noise a picture."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from diptych.core.data import ClassNames, Column, Evidence, Table

NAMES = ("red fox", "oak tree", "tea cup", "sea horse")


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


def task(classes: int = 3, shots: int = 4) -> tuple[ClassNames, Evidence[Image.Image], Table[Image.Image]]:
    """Return names, evidence (train, val) and a test table."""
    names = ClassNames(NAMES[:classes])
    train, val, test = (table(list(range(classes)) * n, seed) for seed, n in ((1, shots), (2, 4), (3, 3)))
    return names, Evidence(train=train, val=val), test
