"""Seeded point clouds of K kinds, in memory: boxes, sticks and plates, each with a picture of one colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from diptych.core import Column, Evidence, Table
from diptych.data.shapes import Shape, Shapes
from tests.support.pictures import NAMES

SIDES = ((1.0, 1.0, 1.0), (0.1, 1.0, 0.1), (1.0, 0.1, 1.0))
COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200))


def shape(kind: int, seed: int, points: int = 60) -> Shape:
    rng = np.random.default_rng([kind, seed])
    cloud = (rng.uniform(-1, 1, (points, 3)) * SIDES[kind]).astype(np.float32)
    return Shape(cloud, Image.new("RGB", (16, 16), COLOURS[kind]), (20.0, 30.0))


def shapes(kinds: list[int], seed: int) -> Shapes:
    made = [shape(k, 1000 * seed + i) for i, k in enumerate(kinds)]
    return Shapes(tuple(f"shape {seed}/{i}" for i in range(len(made))), made)


def clouds(kinds: list[int], seed: int) -> Table[Any]:
    captions = [f"image of a {NAMES[k]}." for k in kinds]
    columns = {"label": Column("label", np.asarray(kinds, dtype=np.int64)), "captions": Column("captions", captions)}
    return Table(shapes(kinds, seed), columns)


def cloud_task(kinds: int = 3, shots: int = 3) -> tuple[Evidence[Any], Table[Any]]:
    train, pairs, test = (clouds(list(range(kinds)) * shots, seed) for seed in (1, 2, 3))
    return Evidence(train=train, unlabelled=pairs.items), test
