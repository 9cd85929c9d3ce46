"""A folder of light curves with two kinds of stars, and sizes of AstroM3 that are fitted in a second."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from diptych.core import Run
from diptych.data.curve_halves import LEAST
from diptych.data.modalities import STARS
from diptych.methods.extend.astrom3 import AstroM3
from diptych.tasks.extend import Extended, extend
from diptych.tasks.extenders import classes_of

TINY = AstroM3(
    dropouts=(0.0, 0.0, 0.0), length=16, grid=(-2.0, 1.0, 234), width=8, layers=1, heads=2, hidden=8, facts=8, dim=8,
    epochs=2, batch=16,
    rate=1e-3,
)  # fmt: skip


def sky(place: Path, *, label: str = "class") -> Path:
    """Stars that rise and stars that fall; one has too few measurements, one too long a span, one no class."""
    rng = np.random.default_rng(5)
    rows, stars = [["star_id", "time", "mag", "mag_err"]], [["star_id", label, "split"]]
    for i in range(24):
        kind = ("falling", "rising")[i % 2]
        name, count = f"s{i}", 40 if i != 22 else LEAST - 1
        time = np.sort(rng.uniform(0, 20 if i != 23 else 1e6, count))
        value = 12 + (1 if i % 2 else -1) * time / time.max() + rng.normal(0, 0.05, count)
        rows += [[name, t, v, 0.05] for t, v in zip(time, value, strict=True)]
        stars.append([name, "" if i == 0 else kind, "train" if i < 16 else "test"])
    place.mkdir()
    for file, table in (("light_curves.csv", rows), ("stars.csv", stars)):
        with (place / file).open("w", newline="") as out:
            csv.writer(out).writerows(table)
    return place


def extended_stars(curves: Path, out: Path | None = None) -> Extended:
    """Fit the small sizes on a folder of light curves."""
    data = STARS.open([str(curves)])
    return extend(data, classes_of(data, STARS), None, TINY, Run(seed=1), out=out)
