"""Records whose pictures are flat colours and whose texts are words: two of each entity are alike in both."""

from __future__ import annotations

import numpy as np
from PIL import Image

from diptych.core import Column, Table
from diptych.data.records.records import Records
from tests.support.pictures import Pictures


def records(entities: int = 6, each: int = 3, seed: int = 0, noise: float = 20.0) -> tuple[Records, np.ndarray]:
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, size=(entities, 8, 8, 3))
    images, texts, own = [], [], []
    for e in range(entities):
        for i in range(each):
            pixels = np.clip(colours[e] + noise * rng.standard_normal((8, 8, 3)), 0, 255).astype(np.uint8)
            images.append(Image.fromarray(pixels))
            texts.append(f"thing{e} seen{rng.integers(100)} copy{i}")
            own.append(e)
    n = len(own)
    return Records(tuple(f"r{i}" for i in range(n)), Pictures(tuple(images)), tuple(range(n)), tuple(texts)), np.array(
        own
    )


def table(found: Records, entities: np.ndarray) -> Table:
    return Table(found, {"entity": Column("entity", entities)})
