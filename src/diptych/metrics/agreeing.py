"""Intervals and p-values of units that all have the same value: their resamples are all equal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.metrics.estimate import Floats, Interval, checked_level

Array = NDArray[np.floating[Any] | np.bool_]

ALIKE = 1e-12
"""Values that are no farther apart differ by rounding."""
UNBOUNDED = (-math.inf, math.inf)
"""Possible values of a metric of which nothing is known."""


def range_of(*values: Array) -> tuple[float, float]:
    """Return the possible values of a mean of values in [0, 1], or of the difference of two such means; ``UNBOUNDED``
    where a value lies elsewhere.

    Args:
        values: one table of per-item values, or the two that are compared.
    """
    if all(np.min(v) >= 0 and np.max(v) <= 1 for v in values):
        return (0.0, 1.0) if len(values) == 1 else (-1.0, 1.0)
    return UNBOUNDED


def alike(values: Floats) -> bool:
    """Return whether all values that are not NaN are equal, but for rounding; False where there are none."""
    some = values[~np.isnan(values)]
    return bool(some.size) and bool(np.ptp(some) <= ALIKE)


def agreeing(
    value: float, units: int, possible: tuple[float, float] = UNBOUNDED, *, level: float = 0.95, sides: int = 2
) -> Interval:
    """Return the interval of a mean of which all N units have the same value: a bootstrap would give it no width.

        low = v - q (v - a),   high = v + q (b - v),   q = 1 - ((1 - level) / sides)^(1/N)

    v: the value;  a, b: the lowest and the highest possible value
    q: the upper end of the exact interval of the share of units that differ, of which 0 of N were seen

    Of hits that are all right it is the exact interval of their share. Of values without bounds it is infinite: how far
    a unit that was not seen may be off cannot be known.

    Args:
        value: v.
        units: N independent units, at least 1.
        possible: (a, b), a <= v <= b; rounding may take v beyond.
        level: share of intervals that contain the truth, at least, in (0, 1).
        sides: 2 for both ends; 1 for a lower bound alone, with ``high`` infinite.

    Source: Clopper and Pearson 1934.

    Example:
        >>> interval = agreeing(0.0, 32, (-1.0, 1.0))  # 32 paired gains that are all 0
        >>> f"{interval.low:.3f} to {interval.high:.3f}"
        '-0.109 to 0.109'
    """
    from scipy.stats import binomtest

    level = 1 - (1 - checked_level(level)) * 2 / sides
    q = float(binomtest(0, units).proportion_ci(level, method="exact").high)
    low, high = value - q * max(0.0, value - possible[0]), value + q * max(0.0, possible[1] - value)
    return Interval(value, low, high if sides == 2 else math.inf)


def agreeing_p(value: float, drawn: Floats, units: int) -> float:
    """Return the two-sided p-value of a gain of 0 from its resamples, as ``paired_p`` defines it.

    Args:
        value: the gain.
        drawn: (draws,) resampled gains, all finite.
        units: number of independent items.
    """
    p = float((1 + (np.abs(drawn - value) >= abs(value) - ALIKE).sum()) / (1 + len(drawn)))
    return max(p, 2.0 ** (1 - units)) if alike(drawn) else p
