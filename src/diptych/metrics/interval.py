"""Intervals: how far a number would move with other test items and other seeds.

Almost all are percentile bootstraps (Efron and Tibshirani 1993, chapter 13) of one kernel, ``resample``. The two
crossed sources of chance, which N items were tested and which R seeds were drawn, are resampled independently of each
other, as whole rows and whole columns of an (R, N) table: an item keeps its values of all seeds.

How often a 95 % interval holds the truth, measured in 400 runs each (docs/intervals.md has all sizes):

- One seed: 93 to 97 % for means and paired gains from 50 items on; 88 % for shares of 0.9 on 20 items.
- Several seeds that differ item by item and little in their means: 97 to 100 %, too wide. The bootstrap counts what is
  neither of the item nor of the seed three times (Owen 2007, "The pigeonhole bootstrap"). A gain that it shows is one;
  a control that it lets fail may still hold a small effect.
- Few seeds whose means differ much: too narrow. Where seeds differ by 15 points, 200 items and 3 seeds give 80 %, 5
  seeds 89 %, 10 seeds 93 %. Up to 5 points, 93 % or more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from diptych.core.errors import DataError, UsageError

Array = NDArray[np.floating[Any] | np.bool_]
Floats = NDArray[np.float64]

CELLS = 1 << 22
"""Resampled counts held at once (32 MiB)."""

Draw = Callable[[np.random.Generator, int, int], Floats]
"""(generator, draws, size) -> (draws, size): how often each of ``size`` things falls into each resample."""


class Rows(Protocol):
    """R values of N items each: an (R, N, ...) array, or a list."""

    def __len__(self) -> int:
        """R."""
        ...

    def __getitem__(self, row: int, /) -> Any:
        """Values of one seed, whose length is N."""
        ...


V = TypeVar("V", bound=Rows)


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval.

    Args:
        value: the mean of what was measured.
        low: lower end.
        high: upper end; infinite for a one-sided lower bound.
    """

    value: float
    low: float
    high: float


def by_index(rng: np.random.Generator, draws: int, size: int) -> Floats:
    """Draw ``size`` positions with replacement, and count them."""
    picks = rng.integers(size, size=(draws, size)) + size * np.arange(draws)[:, None]
    return np.bincount(picks.ravel(), minlength=draws * size).reshape(draws, size).astype(np.float64)


def by_count(rng: np.random.Generator, draws: int, size: int) -> Floats:
    """Draw the counts themselves. The law is that of ``by_index``, the bits are not."""
    return rng.multinomial(size, np.full(size, 1 / size), size=draws).astype(np.float64)


def within(*strata: NDArray[np.bool_]) -> Draw:
    """Return ``by_count`` within each stratum, so that every stratum keeps its size.

    Args:
        strata: (size,) masks that part the things.
    """

    def draw(rng: np.random.Generator, draws: int, size: int) -> Floats:
        counts = np.zeros((draws, size))
        for stratum in strata:
            counts[:, stratum] = by_count(rng, draws, int(stratum.sum()))
        return counts

    return draw


def resample(
    values: V,
    statistic: Callable[[V, Floats, Floats], Floats],
    seed: int,
    *,
    over: V | None = None,
    draws: int = 2000,
    axes: Sequence[tuple[int, Draw]] = ((1, by_count), (0, by_count)),
    width: int = 1,
) -> Floats:
    """Return a statistic of resamples of seeds and items, crossed, in blocks of bounded memory.

    Args:
        values: R values of N items each, one a seed, such as an (R, N, ...) array.
        statistic: takes ``values`` and counts (b, R) and (b, N), how often each seed and each item is in each of b
            resamples, and returns (b, ...).
        seed: of the resampling.
        over: what ``values`` are compared with, the same seeds and items in the same order: the gain over it in the
            same resamples is returned.
        draws: resamples.
        axes: 0 for the seeds and 1 for the items, in the order in which a block draws them, and how. Ways and order
            change the bits and not the law: what is published keeps its own.
        width: numbers that the statistic holds for a resample, where they are more than the counts.

    Returns:
        (draws, ...).

    Raises:
        DataError: the sizes of ``values`` and ``over`` differ.
        UsageError: draws below 1.
    """
    if draws < 1:
        raise UsageError(f"draws must be at least 1, got {draws}.")
    if over is not None:
        _check_paired(values, over)
    rng, shape = np.random.default_rng(seed), (len(values), len(values[0]))
    step = max(1, CELLS // max(*shape, width))
    blocks = []
    for start in range(0, draws, step):
        counts = {axis: draw(rng, min(step, draws - start), shape[axis]) for axis, draw in axes}
        block = statistic(values, counts[0], counts[1])
        blocks.append(block if over is None else block - statistic(over, counts[0], counts[1]))
    return np.concatenate(blocks)


def per_seed(metric: Callable[[Any, Floats], Floats]) -> Callable[[Rows, Floats, Floats], Floats]:
    """Return the statistic that is a metric of each seed's items, averaged over the seeds.

    Args:
        metric: takes the values of one seed and counts (b, N), and returns (b, ...).
    """

    def statistic(values: Rows, seeds: Floats, items: Floats) -> Floats:
        each = np.stack([metric(values[r], items) for r in range(len(values))], axis=1)
        shares = (seeds / len(values)).reshape(*seeds.shape, *[1] * (each.ndim - 2))
        return np.asarray((shares * each).sum(1))

    return statistic


def two_sided(value: float, drawn: Floats, level: float = 0.95) -> Interval:
    """Return the value between the quantiles of its resamples; NaN among these is left out.

    Args:
        value: of the items and seeds themselves.
        drawn: (draws,) of ``resample``.
        level: share of resamples inside, in (0, 1).
    """
    low, high = np.nanquantile(drawn, [(1 - _checked(level)) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def lower_bound(value: float, drawn: Floats, level: float = 0.95) -> Interval:
    """Return the value with its one-sided lower bound, below which a share 1 - level of the resamples lies."""
    return Interval(value, float(np.nanquantile(drawn, 1 - _checked(level))), math.inf)


def bootstrap_mean(values: Array, seed: int, *, level: float = 0.95, draws: int = 2000) -> Interval:
    """Return the mean of per-item values with its two-sided interval.

    Args:
        values: (N,) or (R, N): per-item values such as hits, of one run or of R seeds on the same items.
        seed: of the resampling.
        level: share of resampled means inside.
        draws: resampled means.

    Raises:
        DataError: no values, more than two axes, or a value is not finite.
        UsageError: level outside (0, 1), or draws below 1.
    """
    return two_sided(*_means(values, seed, draws), level)


def paired_bootstrap(first: Array, second: Array, seed: int, *, level: float = 0.95, draws: int = 2000) -> Interval:
    """Return the mean gain of ``first`` over ``second``, paired by seed and item, with its two-sided interval.

    Args:
        first: (N,) or (R, N) per-item values.
        second: the same size: the same seeds and items, in the same order.
        seed: of the resampling.
        level: share of resampled gains inside.
        draws: resampled gains.

    Raises:
        DataError: sizes differ, no values, or a value is not finite.
        UsageError: level outside (0, 1), or draws below 1.
    """
    return bootstrap_mean(_difference(first, second), seed, level=level, draws=draws)


def one_sided_lower(first: Array, second: Array, seed: int, *, level: float = 0.95, draws: int = 2000) -> Interval:
    """Return the mean gain of ``first`` over ``second`` with its one-sided lower bound; ``high`` is infinite.

    A control has failed, as it must, when this interval includes 0: ``low <= 0``.

    Args:
        first: (N,) or (R, N) per-item values.
        second: the same size: the same seeds and items, in the same order.
        seed: of the resampling.
        level: share of resampled gains above the bound.
        draws: resampled gains.

    Raises:
        DataError: sizes differ, no values, or a value is not finite.
        UsageError: level outside (0, 1), or draws below 1.
    """
    return lower_bound(*_means(_difference(first, second), seed, draws), level)


def paired_p(first: Array, second: Array, seed: int, *, draws: int = 10_000) -> float:
    """Return the two-sided p-value of "``first`` is no better or worse than ``second``", paired by seed and item.

        p = (1 + number of |d* - d| >= |d|) / (1 + draws)

    with d the mean gain and d* its resamples, drawn as those of the intervals are: items and seeds crossed.

    Args:
        first: (N,) or (R, N) per-item values.
        second: the same size: the same seeds and items, in the same order.
        seed: of the resampling.
        draws: resampled gains; the smallest p-value is 1 / (1 + draws).

    Raises:
        DataError: sizes differ, no values, or a value is not finite.
        UsageError: draws below 1.

    Source: Efron and Tibshirani 1993, section 16.4 (bootstrap test of a mean).
    """
    value, means = _means(_difference(first, second), seed, draws)
    return float((1 + (np.abs(means - value) >= abs(value) - 1e-12).sum()) / (1 + draws))


def group_sums(values: Floats, groups: NDArray[np.integer[Any]]) -> Floats:
    """Return the sums of (b, N) values over the items of each group that occurs: (b, G).

    Args:
        values: (b, N), such as counts times a value of each item.
        groups: (N,) group of each item.
    """
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(groups[order]) > 0])
    return np.add.reduceat(values[:, order], starts, axis=1)


def t_mean(values: Floats, *, level: float = 0.95, sides: int = 2) -> Interval:
    """Return the mean of a few independent values, such as one a class, with Student's interval of K - 1 degrees.

        mean +- t(K - 1) s / sqrt(K),   s: the standard deviation with K - 1 in the denominator

    It is exact for normal values. One value has no spread: its ends are infinite.

    Args:
        values: (K,) finite, at least one.
        level: share of intervals that hold the true mean, in (0, 1).
        sides: 2 for both ends; 1 for a lower bound alone, with ``high`` infinite.

    Raises:
        DataError: no values, or a value is not finite.
        UsageError: level outside (0, 1), or sides neither 1 nor 2.

    Source: Student 1908.
    """
    if sides not in (1, 2):
        raise UsageError(f"sides must be 1 or 2, got {sides}.")
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise DataError(f"Values must be finite numbers, (classes,), at least one, and are of size {values.shape}.")
    from scipy.stats import t

    mean, tail = float(values.mean()), (1 - _checked(level)) / sides
    if len(values) == 1:
        return Interval(mean, -math.inf, math.inf)
    half = float(t.ppf(1 - tail, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half if sides == 2 else math.inf)


def wilson(hits: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Return Wilson's interval of a proportion, fractions in [0, 1]; ``z`` = 1.96 is 95 %.

    Args:
        hits: successes, 0 <= hits <= n.
        n: trials, at least 1.
        z: standard normal quantile.

    Source: Wilson 1927.
    """
    p, scale = hits / n, 1 + z * z / n
    half = z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5 / scale
    middle = (p + z * z / (2 * n)) / scale
    return middle - half, middle + half


def newcombe(hits: int, n: int, other_hits: int, other_n: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the interval of the difference of two independent proportions, hits / n less other_hits / other_n.

        d - sqrt( (p - l)^2 + (u' - p')^2 )  to  d + sqrt( (u - p)^2 + (p' - l')^2 )

    with d = p - p', l and u the ends of Wilson's interval of p, and l' and u' those of p'.

    Args:
        hits: successes, 0 <= hits <= n.
        n: trials, at least 1.
        other_hits: successes of the proportion that is taken away.
        other_n: its trials, at least 1.
        z: standard normal quantile.

    Source: Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10.
    """
    p, q = hits / n, other_hits / other_n
    (low, high), (other_low, other_high) = wilson(hits, n, z), wilson(other_hits, other_n, z)
    return p - q - math.hypot(p - low, other_high - q), p - q + math.hypot(high - p, q - other_low)


def _check_paired(first: Any, second: Any) -> None:
    if np.shape(first) != np.shape(second):
        raise DataError(
            f"Paired values must have one size, and have {np.shape(first)} and {np.shape(second)}: give the same seeds "
            f"and items."
        )


def _difference(first: Array, second: Array) -> Floats:
    _check_paired(first, second)
    return first.astype(np.float64) - second.astype(np.float64)


def _means(values: Array, seed: int, draws: int) -> tuple[float, Floats]:
    table = np.atleast_2d(values.astype(np.float64))
    if table.ndim != 2 or table.size == 0 or not np.isfinite(table).all():
        raise DataError(
            f"Values must be finite numbers, (items,) or (seeds, items), at least one, and are of size {values.shape}."
        )

    drawn = resample(table, _mean, seed, draws=draws, axes=((0, by_index), (1, by_index)))
    return float(table.mean()), drawn


def _mean(values: Floats, seeds: Floats, items: Floats) -> Floats:
    return np.asarray(np.einsum("bn,bn->b", seeds @ values, items) / values.size)


def _checked(level: float) -> float:
    if not 0 < level < 1:
        raise UsageError(f"level must be in (0, 1), got {level}.")
    return level
