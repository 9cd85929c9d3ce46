"""One row of the table of ``tests.support.nulls.simulations``: a law, an interval, and how often it holds the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from diptych.metrics.estimate import Interval

RUNS, DRAWS = 400, 500
Run = Callable[[np.random.Generator, int], bool]
"""(generator, number of the run) -> whether its interval holds the truth."""


@dataclass(frozen=True)
class Cell:
    """One row of the table.

    Args:
        name: of the interval.
        law: of the data.
        seeds, items: sizes.
        run: one draw.
        runs: number of draws; more where they cost nothing.
    """

    name: str
    law: str
    seeds: int
    items: int
    run: Run
    runs: int = RUNS

    def share(self) -> float:
        """Return the share of runs whose interval holds the truth."""
        return float(np.mean([self.run(np.random.default_rng([run, self.items]), run) for run in range(self.runs)]))


def holds(interval: Interval | tuple[float, float], truth: float) -> bool:
    """Tell whether the truth lies inside; rounding puts none outside."""
    low, high = (interval.low, interval.high) if isinstance(interval, Interval) else interval
    return low - 1e-9 <= truth <= high + 1e-9
