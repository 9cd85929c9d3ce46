"""Normal photos that are kept aside to hold a rate of false alarms: one by one, or by whole stretches of frames.

Frames of a film, or photos of one thing taken in a row, are no independent photos: a frame that is kept aside has its
near-duplicate among those that were learnt from, scores low, and makes a threshold that later frames exceed too often.
So frames are kept aside by whole stretches. Whether successors are nearer than other pairs is measured on small grey
pictures, without a model.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.core import DataError, Run, Samples, Subset, UsageError
from diptych.metrics.detection import false_alarm_threshold, grouped_false_alarm_threshold

SIDE = 16
"""Side of the grey pictures that are compared."""
NEAR = 0.01
"""Share of the pairs far apart in the order of names that are as near as near-duplicates: where the order means
nothing, successors are linked in as many cases."""
FAR = 4
"""Photos are far apart in the order from 1 / FAR of all photos on."""
CHANCE = 0.001
"""Probability that so many successors are linked by chance, below which photos are called neighbouring frames."""
SAMPLE = 400
"""Photos whose pairs say which distance is near."""
PIECES, SHORT = 20, 10
"""A stretch holds at most 1 / PIECES of the photos, or SHORT of them; longer ones are cut."""


@dataclass(frozen=True)
class Stretches:
    """Photos of which many are near-duplicates of their successors.

    Args:
        groups: (N,) number of the stretch of each photo; a photo without near neighbours is one of its own.
        near: positions of photos and of the near-duplicates that follow them.
    """

    groups: NDArray[np.int64]
    near: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        """Number of stretches."""
        return len(np.unique(self.groups))


def stretches(photos: Samples[Any]) -> Stretches | None:
    """Return the stretches of photos in the order of their names; None where successors are no nearer than others.

    Args:
        photos: N readable images; numbers in their names count as numbers.
    """
    count = len(photos)
    if count < 3:
        return None
    order = sorted(range(count), key=lambda i: _natural(photos.name(i)))
    small = np.stack([_grey(photos[i]) for i in order])
    following: NDArray[np.float32] = np.abs(small[1:] - small[:-1]).mean(axis=1)
    linked = following <= _near(small)
    if not _more_than_chance(int(linked.sum()), count - 1):
        return None
    longest = max(SHORT, math.ceil(count / PIECES))
    groups = np.zeros(count, dtype=np.int64)
    group, length = 0, 0
    for place, position in enumerate(order):
        if place and (not linked[place - 1] or length >= longest):
            group, length = group + 1, 0
        groups[position] = group
        length += 1
    near = tuple((order[i], order[i + 1]) for i in np.flatnonzero(linked))
    return Stretches(groups, near)


def calibration_split(
    normal: Samples[Any], rate: float, run: Run, frames: Stretches | None = None
) -> tuple[Subset[Any], Subset[Any]]:
    """Part normal photos at random into those to learn from and those on which a rate is held.

    Args:
        normal: N normal photos.
        rate: false alarms a normal photo, in (0, 1).
        run: its seed draws.
        frames: stretches of neighbouring frames, which are kept aside whole; their near-duplicates in other stretches
            are then left out. None: photos are drawn one by one.

    Raises:
        UsageError: a rate outside (0, 1).
        DataError: they are too few.
    """
    if not 0 < rate < 1:
        raise UsageError(f"A false-alarm rate must be in (0, 1), such as 0.05, got {rate}.")
    count, least = len(normal), math.ceil(round(1 / rate - 1, 9))
    aside = max(least, count // 3)
    if count - aside < 2:
        raise DataError(
            f"{count} normal photos are too few to learn from and to hold a false-alarm rate of {rate:g}: give at "
            f"least {least + 2}, or a higher rate."
        )
    order = np.random.default_rng(run.integer("normal photos aside")).permutation(count).tolist()
    if frames is None:
        return Subset(normal, tuple(sorted(order[aside:]))), Subset(normal, tuple(sorted(order[:aside])))
    drawn = list(dict.fromkeys(frames.groups[order].tolist()))  # stretches, in the order of the permutation
    sizes = np.bincount(frames.groups)
    stop = int(np.searchsorted(np.cumsum(sizes[drawn]), aside)) + 1
    stop = max(stop, min(least, len(drawn) // 2))  # the rate is held over stretches
    held = set(np.flatnonzero(np.isin(frames.groups, drawn[:stop])).tolist())
    beside = {position for pair in frames.near if len(held & set(pair)) == 1 for position in pair}
    learnt = sorted(set(range(count)) - held - beside)
    if len(learnt) < 2:
        raise DataError(
            f"{count} normal photos are neighbouring frames of {frames.count} stretches, and too few are left to learn "
            f"from: give photos of more days, or a higher rate."
        )
    return Subset(normal, tuple(learnt)), Subset(normal, tuple(sorted(held)))


def held_threshold(
    clean: NDArray[np.float64], aside: Subset[Any], frames: Stretches | None, rate: float
) -> tuple[float, int | None, bool]:
    """Return the threshold of photos kept aside, the number of their stretches, and whether these hold the rate.

    Where stretches are too few, the threshold is the highest score kept aside, the most cautious one that the photos
    give.

    Args:
        clean: scores of the photos kept aside.
        aside: of ``calibration_split``.
        frames: what it was given.
        rate: false alarms a normal photo, in (0, 1).

    Raises:
        DataError: photos that are no frames are too few for the rate.
    """
    if frames is None:
        return false_alarm_threshold(clean, rate), None, True
    groups = frames.groups[list(aside.indices)]
    count = len(np.unique(groups))
    try:
        return grouped_false_alarm_threshold(clean, groups, rate), count, True
    except DataError:
        return float(clean.max()), count, False


def _near(small: NDArray[np.float32]) -> float:
    """Return the distance that a share ``NEAR`` of the pairs far apart in the order does not exceed."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(small))[:SAMPLE])
    rows = []
    for place, position in enumerate(chosen):
        others = chosen[place + 1 :]
        far = others[others - position >= len(small) / FAR]
        rows.append(np.abs(small[far] - small[position]).mean(axis=1))
    return float(np.quantile(np.concatenate(rows), NEAR))


def _more_than_chance(linked: int, pairs: int) -> bool:
    from scipy.stats import binom

    return bool(binom.sf(linked - 1, pairs, NEAR) < CHANCE)


def _grey(photo: Image.Image) -> NDArray[np.float32]:
    """Return a photo as (SIDE^2,) grey values in [0, 1]."""
    small = photo.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32).ravel() / np.float32(255)


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Return a key that orders frame-9 before frame-10."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]
