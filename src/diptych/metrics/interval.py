"""Bootstraps over test items and seeds: the bound of a proof, and gains of one seed.

They are percentile bootstraps (Efron and Tibshirani 1993, chapter 13) that use ``resample``. The N test items and the R
seeds are resampled independently of each other, as whole columns and whole rows of an (R, N) table. What boards print
of several seeds, and of shares, is in ``metrics.two_way``. Where all resamples are equal, as where no item differs, the
interval is that of ``agreeing``.

Coverage of a 95 % interval, measured in 400 runs each (docs/decisions/2026-12-01-intervals.md):

- One seed: 93 to 97 % for means and paired gains from 50 items on; 88 % for shares of 0.9 on 20 items.
- Several seeds that differ item by item and little in their means: 97 to 100 %, too wide. The bootstrap counts the
  variance that belongs neither to the item nor to the seed three times (Owen 2007, "The pigeonhole bootstrap"). A gain
  whose interval excludes 0 is sound; an interval that includes 0 may hide a small effect.
- Few seeds whose means differ much: too narrow. Where seeds differ by 15 points, 200 items and 3 seeds give 80 %, 5
  seeds 89 %, 10 seeds 93 %. Up to 5 points, 93 % or more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, UsageError
from diptych.metrics.agreeing import UNBOUNDED, Array, agreeing, agreeing_p, alike, range_of
from diptych.metrics.estimate import Floats, Interval, checked_level

CELLS = 1 << 22
"""Resampled counts in memory at once (32 MiB)."""

Draw = Callable[[np.random.Generator, int, int], Floats]
"""(generator, draws, size) -> (draws, size): how often each of ``size`` units is in each resample."""


class SeedRows(Protocol):
    """R values of N items each, one per seed: an (R, N, ...) array, or a list."""

    def __len__(self) -> int:
        """Number R of seeds."""

    def __getitem__(self, row: int, /) -> Any:
        """Return the values of one seed, of length N."""


V = TypeVar("V", bound=SeedRows)


def by_index(rng: np.random.Generator, draws: int, size: int) -> Floats:
    """Draw ``size`` positions with replacement, and count them."""
    picks = rng.integers(size, size=(draws, size)) + size * np.arange(draws)[:, None]
    return np.bincount(picks.ravel(), minlength=draws * size).reshape(draws, size).astype(np.float64)


def by_count(rng: np.random.Generator, draws: int, size: int) -> Floats:
    """Draw the counts directly: the distribution of ``by_index``, with other bits."""
    return rng.multinomial(size, np.full(size, 1 / size), size=draws).astype(np.float64)


def within(*strata: NDArray[np.bool_]) -> Draw:
    """Return ``by_count`` within each stratum, so that every stratum keeps its size.

    Args:
        strata: (size,) masks, a partition of the units.
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
    """Return a statistic over resamples of seeds and items, crossed, in blocks of bounded memory.

    Args:
        values: R values of N items each, one per seed, such as an (R, N, ...) array.
        statistic: takes ``values`` and counts (b, R) and (b, N), how often each seed and each item is in each of b
            resamples, and returns (b, ...).
        seed: seed of the resampling.
        over: values of the same seeds and items, in the same order, to compare with; the result is then the gain over
            them in the same resamples.
        draws: number of resamples.
        axes: (axis, way of drawing) in the order in which a block draws them; axis 0 is the seeds, 1 the items. Both
            change the bits and not the distribution, so published results keep theirs.
        width: numbers in memory for each resample, where the statistic needs more than the counts.

    Returns:
        (draws, ...).

    Raises:
        DataError: the sizes of ``values`` and ``over`` differ.
        UsageError: draws below 1.
    """
    if draws < 1:
        raise UsageError(f"draws must be at least 1, got {draws}.")
    if over is not None:
        check_paired(values, over)
    rng, shape = np.random.default_rng(seed), (len(values), len(values[0]))
    step = max(1, CELLS // max(*shape, width))
    blocks = []
    for start in range(0, draws, step):
        counts = {axis: draw(rng, min(step, draws - start), shape[axis]) for axis, draw in axes}
        block = statistic(values, counts[0], counts[1])
        blocks.append(block if over is None else block - statistic(over, counts[0], counts[1]))
    return np.concatenate(blocks)


def per_seed(metric: Callable[[Any, Floats], Floats]) -> Callable[[SeedRows, Floats, Floats], Floats]:
    """Return the statistic that averages a metric of each seed's items over the seeds.

    Args:
        metric: takes the values of one seed and counts (b, N), and returns (b, ...).
    """

    def statistic(values: SeedRows, seeds: Floats, items: Floats) -> Floats:
        each = np.stack([metric(values[r], items) for r in range(len(values))], axis=1)
        shares = (seeds / len(values)).reshape(*seeds.shape, *[1] * (each.ndim - 2))
        return np.asarray((shares * each).sum(1))

    return statistic


def two_sided(
    value: float, drawn: Floats, level: float = 0.95, *, units: int, possible: tuple[float, float] = UNBOUNDED
) -> Interval:
    """Return the value with the quantiles of its resamples as ends, or ``agreeing`` where all resamples are equal.

    Resamples that are NaN are left out.

    Args:
        value: the statistic of the original items and seeds.
        drawn: (draws,) result of ``resample``.
        level: share of resamples inside, in (0, 1).
        units: number of independent items behind the statistic.
        possible: its lowest and highest value.
    """
    low, high = np.nanquantile(drawn, [(1 - checked_level(level)) / 2, (1 + level) / 2])
    return agreeing(value, units, possible, level=level) if alike(drawn) else Interval(value, float(low), float(high))


def lower_bound(
    value: float, drawn: Floats, level: float = 0.95, *, units: int, possible: tuple[float, float] = UNBOUNDED
) -> Interval:
    """Return the value with its one-sided lower bound: a share 1 - level of the resamples is below it; or that of
    ``agreeing`` where all resamples are equal. The arguments are those of ``two_sided``.
    """
    low = float(np.nanquantile(drawn, 1 - checked_level(level)))
    if alike(drawn):
        return agreeing(value, units, possible, level=level, sides=1)
    return Interval(value, low, math.inf)


def both_ends(bound: Callable[..., Interval], first: Any, second: Any, *more: Any) -> Interval:
    """Return a gain with both ends: lower bounds of the same resamples, one of the loss, by ``bound`` at a level."""
    low, high = bound(first, second, *more, level=0.975), bound(second, first, *more, level=0.975)
    return Interval(low.value, low.low, -high.low)


def bootstrap_mean(
    values: Array, seed: int, *, level: float = 0.95, draws: int = 2000, possible: tuple[float, float] | None = None
) -> Interval:
    """Return the mean of per-item values with its two-sided interval.

    Args:
        values: (N,) or (R, N): per-item values such as hits, of one run or of R seeds on the same items.
        seed: seed of the resampling.
        level: share of resampled means inside.
        draws: resampled means.
        possible: the lowest and the highest value of an item, for values that are all equal; None: 0 to 1 where all
            values lie there, and otherwise unknown.

    Raises:
        DataError: no values, more than two axes, or a value is not finite.
        UsageError: level outside (0, 1), or draws below 1.
    """
    value, drawn = _means(values, seed, draws)
    return two_sided(value, drawn, level, units=np.shape(values)[-1], possible=possible or range_of(values))


def paired_bootstrap(
    first: Array,
    second: Array,
    seed: int,
    *,
    level: float = 0.95,
    draws: int = 2000,
    possible: tuple[float, float] | None = None,
) -> Interval:
    """Return the mean gain of ``first`` over ``second``, paired by seed and item, with its two-sided interval.

    Args:
        first: (N,) or (R, N) per-item values.
        second: the same size: the same seeds and items, in the same order.
        seed: seed of the resampling.
        level: share of resampled gains inside.
        draws: resampled gains.
        possible: the lowest and the highest gain of an item, for gains that are all equal; None: -1 to 1 where all
            values lie in [0, 1], and otherwise unknown.

    Raises:
        DataError: sizes differ, no values, or a value is not finite.
        UsageError: level outside (0, 1), or draws below 1.
    """
    gains = _difference(first, second)
    return bootstrap_mean(gains, seed, level=level, draws=draws, possible=possible or range_of(first, second))


def one_sided_lower(first: Array, second: Array, seed: int, *, level: float = 0.95, draws: int = 2000) -> Interval:
    """Return the mean gain of ``first`` over ``second`` with its one-sided lower bound; ``high`` is infinite.

    A control shows no effect when this interval includes 0: ``low <= 0``.

    Args:
        first: (N,) or (R, N) per-item values.
        second: the same size: the same seeds and items, in the same order.
        seed: seed of the resampling.
        level: share of resampled gains above the bound.
        draws: resampled gains.

    Raises:
        DataError: sizes differ, no values, or a value is not finite.
        UsageError: level outside (0, 1), or draws below 1.
    """
    value, drawn = _means(_difference(first, second), seed, draws)
    return lower_bound(value, drawn, level, units=np.shape(first)[-1], possible=range_of(first, second))


def paired_p(first: Array, second: Array, seed: int, *, draws: int = 10_000) -> float:
    """Return the two-sided p-value of "``first`` is no better or worse than ``second``", paired by seed and item.

        p = (1 + number of |d* - d| >= |d|) / (1 + draws)

    d: the mean gain;  d*: its resamples, with items and seeds crossed as for the intervals

    Of N gains that are all equal, and not 0, it is that of the sign test, 2^(1 - N).

    Args:
        first: (N,) or (R, N) per-item values.
        second: the same size: the same seeds and items, in the same order.
        seed: seed of the resampling.
        draws: resampled gains; the smallest p-value is 1 / (1 + draws).

    Raises:
        DataError: sizes differ, no values, or a value is not finite.
        UsageError: draws below 1.

    Source: Efron and Tibshirani 1993, section 16.4 (bootstrap test of a mean).
    """
    value, means = _means(_difference(first, second), seed, draws)
    return agreeing_p(value, means, np.shape(first)[-1])


def group_sums(values: Floats, groups: NDArray[np.integer[Any]]) -> Floats:
    """Return the sums of (b, N) values over the items of each group that occurs: (b, G).

    Args:
        values: (b, N), such as counts times a value of each item.
        groups: (N,) group of each item.
    """
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(groups[order]) > 0])
    return np.add.reduceat(values[:, order], starts, axis=1)


def check_paired(first: Any, second: Any) -> None:
    """Raise DataError where two tables of values have not one size."""
    if np.shape(first) != np.shape(second):
        raise DataError(
            f"Paired values must have one size, got {np.shape(first)} and {np.shape(second)}: give the same seeds "
            f"and items."
        )


def _difference(first: Array, second: Array) -> Floats:
    check_paired(first, second)
    return first.astype(np.float64) - second.astype(np.float64)


def _means(values: Array, seed: int, draws: int) -> tuple[float, Floats]:
    table = np.atleast_2d(values.astype(np.float64))
    if table.ndim != 2 or table.size == 0 or not np.isfinite(table).all():
        raise DataError(
            f"Values must be finite numbers, (items,) or (seeds, items), at least one, got size {values.shape}."
        )

    drawn = resample(table, _mean, seed, draws=draws, axes=((0, by_index), (1, by_index)))
    return float(table.mean()), drawn


def _mean(values: Floats, seeds: Floats, items: Floats) -> Floats:
    return np.asarray(np.einsum("bn,bn->b", seeds @ values, items) / values.size)
