"""Seeded stars: two hidden numbers that the curve, the spectrum and the metadata all hang on."""

from __future__ import annotations

from typing import Any

import numpy as np

from diptych.core import Column, Evidence, Samples, Table
from diptych.data.formats.lightcurves import LightCurve
from diptych.data.stars import Star, Stars

GRID = np.linspace(4000, 5000, 256)


def star(seed: int, points: int = 30) -> Star:
    rng = np.random.default_rng([3, seed])
    hidden = rng.uniform(0.5, 3.0, 2)
    time = np.sort(rng.uniform(0, 10, points))
    value = 12 + hidden[0] * (time / 10) ** hidden[1] + rng.normal(0, 0.02, points)
    curve = LightCurve(time, value, np.full(points, 0.05))
    line = 1 + hidden[0] * np.exp(-((GRID - 4000 - 300 * hidden[1]) ** 2) / 5000) + rng.normal(0, 0.02, len(GRID))
    return Star(curve, LightCurve(GRID, line, np.full(len(GRID), 0.02)), np.array([*hidden, rng.normal(), np.nan]))


def stars(count: int, first: int = 0) -> Stars:
    return Stars(
        tuple(f"star {i}" for i in range(first, first + count)), [star(i) for i in range(first, first + count)]
    )


def labelled(count: int, first: int = 0) -> Table[Star]:
    """Two classes: of small and of large amplitude."""
    made = stars(count, first)
    return Table(made, {"label": Column("label", np.array([int(s.metadata[0] > 1.75) for s in made.stars]))})  # type: ignore[index]


def star_task() -> tuple[Evidence[Any], dict[str, Samples[Any]]]:
    test = stars(4, 100)
    return Evidence(unlabelled=stars(8), val=Table(stars(4, 50))), dict.fromkeys(
        ("photometry", "spectra", "metadata"), test
    )
