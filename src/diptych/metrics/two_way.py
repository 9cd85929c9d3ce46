"""Intervals in closed form of means over R seeds and N items, and of what a jackknife makes a mean.

    v  = max(MS_A + MS_B - MS_E, max(MS_A, MS_B, MS_E) / 2),   standard error: sqrt(v / (R N))
    nu = max(v^2 / (MS_A^2 / (R - 1) + MS_B^2 / (N - 1) + MS_E^2 / ((R - 1) (N - 1))),  min(R, N) - 1)
         and at most R - 1 where MS_A > MS_B

MS_A, MS_B, MS_E: mean squares of seeds, of items, and of what belongs to neither
v / (R N): where seeds and items are both drawn at random, unbiased for the variance of the mean, apart from the floor
nu: degrees of freedom (Satterthwaite 1946), with two bounds (ours)

One seed, or seeds that are all alike, leave the variance of the items and N - 1 degrees. From the standard error follow

- of a share, Wilson's interval with an effective number of cases (Korn and Graubard 1998), inside [0, 1];
- of the mean of another metric, Student's interval after a transformation that removes its skewness (Hall 1992);
- of a gain, Student's interval.

How often they hold the truth: docs/intervals.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError
from diptych.metrics.agreeing import ALIKE, Array, agreeing, alike, range_of
from diptych.metrics.closed_intervals import wilson
from diptych.metrics.estimate import Floats, Interval, checked_level
from diptych.metrics.interval import check_paired, paired_bootstrap, paired_p


@dataclass(frozen=True)
class Spread:
    """How far an estimate may be off.

    Args:
        error: standard error; 0 where all values are equal, which does not tell how far the estimate may be off.
        degrees: of freedom; infinite where the error is 0.
        skew: third cumulant of the estimate, over error^3.
    """

    error: float
    degrees: float
    skew: float = 0.0


def spread(values: Floats, degrees: float | None = None) -> Spread:
    """Return how far the mean of (R, N) values may be off.

    Args:
        values: finite; N at least 2. One item alone, of one seed, has an infinite error.
        degrees: of freedom of the items of one seed; None: N - 1.

    Example:
        >>> spread(np.array([[1.0, 3.0]])).error
        1.0
    """
    seeds, items = values.shape
    if seeds > 1 and not differ(values):  # nothing was drawn: one seed, that stands R times
        values, seeds = values[:1], 1
    if values.size > 1 and alike(values):
        return Spread(0.0, math.inf)
    mean, rows, columns = values.mean(), values.mean(axis=1), values.mean(axis=0)
    if seeds == 1:
        freedom = items - 1 if degrees is None else degrees
        v = float(values.var(ddof=1)) if items > 1 else math.inf
    elif items == 1:
        v, freedom = float(values.var(ddof=1)), seeds - 1
    else:
        each = np.array([seeds - 1, items - 1, (seeds - 1) * (items - 1)])
        sums = (
            items * np.square(rows - mean).sum(),
            seeds * np.square(columns - mean).sum(),
            np.square(values - rows[:, None] - columns + mean).sum(),
        )
        squares = np.array(sums) / each
        v = float(max(squares[0] + squares[1] - squares[2], squares.max() / 2))
        freedom = v**2 / (squares**2 / each).sum() if v > 0 else math.inf
        freedom = max(float(freedom), min(seeds, items) - 1)
        if squares[0] > squares[1]:  # most of v is a variance that R seeds alone tell
            freedom = min(freedom, seeds - 1)
    error = math.sqrt(v / values.size)
    if not 0 < error < math.inf:
        return Spread(error, math.inf if error == 0 else 1.0)
    third = float(((columns - mean) ** 3).mean() / items**2)
    return Spread(error, float(freedom), third / error**3)


def differ(values: Floats) -> bool:
    """Return whether the rows of (R, N, ...) values differ by more than rounding; one row alone does not."""
    return not bool((np.abs(values - values[:1]) <= ALIKE).all())


def share_interval(
    value: float, spread: Spread, items: int, *, most: int | None = None, level: float = 0.95
) -> Interval:
    """Return the interval of an estimate in [0, 1]: Wilson's, as of a share of n cases.

        n = min(p (1 - p) / error^2, most) (z / t)^2,   ``items`` (z / t)^2 where the error is 0

    p: the estimate;  z, t: quantiles of the normal distribution, and of Student's with the degrees of the spread

    Args:
        value: p.
        spread: of it.
        items: N, the effective number of cases where nothing differs, as where all hits are right.
        most: the largest effective number of cases; None: any.
        level: share of intervals that contain the truth, in (0, 1).

    Source: Korn and Graubard 1998, "Confidence intervals for proportions with small expected number of positive counts
        estimated from survey data".

    Example:
        >>> interval = share_interval(1.0, Spread(0.0, math.inf), items=20)
        >>> round(interval.low, 2), interval.high
        (0.84, 1.0)
    """
    z = _quantile(level, math.inf)
    cases = items if spread.error == 0 else value * (1 - value) / spread.error**2
    cases = max(min(cases, most or cases), 1e-12) * (z / _quantile(level, spread.degrees)) ** 2
    low, high = wilson(value * cases, cases, z)
    return Interval(value, max(0.0, min(low, value)), min(1.0, max(high, value)))


def skewed_interval(value: float, spread: Spread, *, level: float = 0.95) -> Interval:
    """Return the interval of a mean of any values: Student's, of a transformed quantity that is not skewed.

        h(T) = T + a T^2 / 3 + a^2 T^3 / 27 + a / 6,   T = (estimate - truth) / error
        interval: the truths for which |h(T)| <= t(nu)

    a: the skewness of the estimate;  where it is 0, this is Student's interval. Where the error is 0 the ends are
    infinite: how far values that are not all equal would lie apart is not known.

    Args:
        value: the estimate.
        spread: of it.
        level: share of intervals that contain the truth, in (0, 1).

    Source: Hall 1992, "On the removal of skewness by transformation".

    Example:
        >>> interval = skewed_interval(0.5, Spread(0.1, math.inf))
        >>> round(interval.low, 3), round(interval.high, 3)
        (0.304, 0.696)
    """
    quantile = _quantile(level, spread.degrees)
    if spread.error in (0, math.inf):
        return Interval(value, -math.inf, math.inf)
    low, high = (value - spread.error * _inverse(end, spread.skew) for end in (quantile, -quantile))
    return Interval(value, low, high)


def t_interval(value: float, spread: Spread, *, level: float = 0.95) -> Interval:
    """Return Student's interval, value +- t(nu) error; infinite where the error is 0, as ``skewed_interval``.

    Example:
        >>> interval = t_interval(0.5, Spread(0.1, 4.0))
        >>> round(interval.low, 3), round(interval.high, 3)
        (0.222, 0.778)
    """
    half = spread.error * _quantile(level, spread.degrees) or math.inf
    return Interval(value, value - half, value + half)


def t_p(value: float, spread: Spread) -> float:
    """Return Student's two-sided p-value of a true value of 0; where the error is 0, it is 1 or 0.

    Example:
        >>> round(t_p(0.278, Spread(0.1, 4.0)), 3)
        0.05
    """
    from scipy.stats import t

    if spread.error == 0:
        return float(value == 0)
    return float(2 * t.sf(abs(value) / spread.error, spread.degrees))


def item_mean(values: Array, *, level: float = 0.95) -> Interval:
    """Return the mean of the values of a metric with its two-sided interval.

    Values that are all 0 or 1 are hits, whose mean is a share. Other values that are all equal have the interval of
    ``metrics.agreeing.agreeing``, in [0, 1] or infinite. Differences of two metrics belong into ``item_gain``, whose
    interval may reach below 0.

    Args:
        values: (N,) or (R, N): per-item values, of one run or of R seeds on the same items.
        level: share of intervals that contain the truth, in (0, 1).

    Raises:
        DataError: no values, more than two axes, or a value is not finite.
        UsageError: level outside (0, 1).

    Example:
        >>> interval = item_mean(np.array([1, 1, 1, 0, 1, 1, 1, 1, 1, 1]))
        >>> round(interval.low, 2), interval.value, round(interval.high, 2)
        (0.6, 0.9, 0.98)
    """
    table = _table(values)
    value = float(table.mean())
    hits = ((table == 0) | (table == 1)).all()
    if hits and not differ(table):
        return share_interval(value, Spread(0.0, math.inf), table.shape[1], level=level)
    off = spread(table)
    if hits:
        return share_interval(value, off, table.shape[1], most=table.size, level=level)
    if off.error == 0:
        return agreeing(value, table.shape[1], range_of(table), level=level)
    return skewed_interval(value, off, level=level)


def item_gain(first: Array, second: Array, seed: int, *, level: float = 0.95) -> Interval:
    """Return the mean gain of ``first`` over ``second``, paired by seed and item, with its two-sided interval.

    Over several seeds it is Student's interval of the two-way variance. Of one seed, or of seeds whose gains are all
    alike, it is the bootstrap over items.

    Args:
        first: (N,) or (R, N) per-item values.
        second: the same size: the same seeds and items, in the same order.
        seed: of the bootstrap.
        level: share of intervals that contain the truth, in (0, 1).

    Raises:
        DataError: sizes differ, no values, or a value is not finite.
        UsageError: level outside (0, 1).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> gain = item_gain(rng.normal(0.5, 1, (5, 100)), rng.normal(0, 1, (5, 100)), seed=0)
        >>> gain.low > 0
        True
    """
    one, other = _alone(first, second)
    if len(one) == 1:
        return paired_bootstrap(one, other, seed, level=level)
    return t_interval(float((one - other).mean()), spread(one - other), level=level)


def item_gain_p(first: Array, second: Array, seed: int) -> float:
    """Return the two-sided p-value of "``first`` is no better or worse than ``second``": 0.05 where an end of the 95 %
    interval of ``item_gain`` over several seeds is 0. Of one seed it is that of the bootstrap over items.

    Args:
        first: (N,) or (R, N) per-item values.
        second: the same size: the same seeds and items, in the same order.
        seed: of the bootstrap.

    Raises:
        DataError: sizes differ, no values, or a value is not finite.
    """
    one, other = _alone(first, second)
    return paired_p(one, other, seed) if len(one) == 1 else t_p(float((one - other).mean()), spread(one - other))


def _quantile(level: float, degrees: float) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + checked_level(level)) / 2, degrees))


def _inverse(y: float, skew: float) -> float:
    """Return x of h(x) = y, by (1 + skew x / 3)^3 = 1 + skew (y - skew / 6)."""
    if abs(skew) < 1e-6:
        return y - skew / 6
    return 3 / skew * (float(np.cbrt(1 + skew * (y - skew / 6))) - 1)


def _alone(first: Array, second: Array) -> tuple[Floats, Floats]:
    """Return two tables of one size, with one row each where all rows of the difference are alike."""
    check_paired(first, second)
    one, other = _table(first), _table(second)
    return (one, other) if differ(one - other) else (one[:1], other[:1])


def _table(values: NDArray[Any]) -> Floats:
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if table.ndim != 2 or table.size == 0 or not np.isfinite(table).all():
        raise DataError(
            f"Values must be finite numbers, (items,) or (seeds, items), at least one, got size {np.shape(values)}."
        )
    return table
