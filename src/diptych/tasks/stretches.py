"""Whether photos are neighbouring frames, and the stretches into which such frames fall.

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

from diptych.core import Samples

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
