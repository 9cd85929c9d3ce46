"""What the best of several systems is worth, without the gain that chance gave it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, UsageError
from diptych.metrics.estimate import Interval, checked_level
from diptych.metrics.interval import CELLS, by_count, two_sided


def gain_of_the_best(
    correct: NDArray[np.bool_], base: int = 0, *, seed: int, level: float = 0.95, draws: int = 2000
) -> Interval:
    """Return the gain over a base of the system that is right most often, corrected for being the highest of many.

    Each resample of the items chooses a system on the items that it holds and measures it on those that it lacks, about
    37 % of all. The interval is that of so few items, so it is wider than one of all items.

    Args:
        correct: (S, N) whether each of S systems is right about each of N held-out items; N from 2.
        base: position of the system with which the choice is compared. Where several are right equally often, the first
            in the order of the rows is chosen, so put the plainest first.
        seed: of the resamples.
        level: of the interval.
        draws: number of resamples.

    Returns:
        The mean gain over the resamples, a fraction of the items, with its percentile interval.

    Raises:
        DataError: fewer than 2 items.
        UsageError: no such base, or a level outside (0, 1).

    Source: BBC-CV, Tsamardinos, Greasidou and Borboudakis, Machine Learning 107 (2018), section 3.

    Example:
        >>> import numpy as np
        >>> right = np.random.default_rng(0).random((20, 200)) < 0.7  # twenty systems that are equally good
        >>> round(float(right.mean(1).max() - right.mean(1)[0]), 3)
        0.14
        >>> corrected = gain_of_the_best(right, seed=1)
        >>> corrected.low < 0 < corrected.high
        True
    """
    table = np.asarray(correct, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2:
        raise DataError("A choice is measured on 2 held-out items or more: give more labelled photos.")
    if not 0 <= base < len(table):
        raise UsageError(f"base must be a row from 0 to {len(table) - 1}, got {base}.")
    checked_level(level)
    rng, size = np.random.default_rng(seed), table.shape[1]
    gains: list[NDArray[np.floating[Any]]] = []
    step = max(1, CELLS // size)
    for start in range(0, draws, step):
        counts = by_count(rng, min(step, draws - start), size)
        chosen = (counts @ table.T).argmax(axis=1)  # the first of equal ones
        left_out = (counts == 0).astype(np.float64)
        right = left_out @ table.T
        some = left_out.sum(1) > 0
        rows = np.arange(len(counts))[some]
        gains.append((right[rows, chosen[some]] - right[rows, base]) / left_out.sum(1)[some])
    drawn = np.concatenate(gains)
    return two_sided(float(drawn.mean()), drawn, level, units=size, possible=(-1.0, 1.0))
