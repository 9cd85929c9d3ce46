"""Bootstrap intervals: how far a mean would move with other test items and other seeds.

Percentile bootstrap (Efron and Tibshirani 1993, chapter 13), vectorised, in bounded memory. Values are (N,) of one run,
or (R, N) of R seeds on the same N items. The two crossed sources of chance, which items were tested and which seeds
were drawn, are resampled independently of each other, as whole rows and whole columns: an item keeps what all seeds
said of it. With few seeds (R below 5) the interval is somewhat too narrow in the direction of the seeds; with one, it
speaks of the items alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core.errors import DataError, UsageError

Array = NDArray[np.floating[Any] | np.bool_]

CELLS = 1 << 22
"""Resampled counts held at once (32 MiB)."""


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
    value, means = _resampled(values, seed, level, draws)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


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
    value, means = _resampled(_difference(first, second), seed, level, draws)
    return Interval(value, float(np.quantile(means, 1 - level)), math.inf)


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
    value, means = _resampled(_difference(first, second), seed, 0.95, draws)
    return float((1 + (np.abs(means - value) >= abs(value) - 1e-12).sum()) / (1 + draws))


def _difference(first: Array, second: Array) -> NDArray[np.float64]:
    if first.shape != second.shape:
        raise DataError(
            f"Paired values must have one size, and have {first.shape} and {second.shape}: give the same seeds and "
            f"items."
        )
    return first.astype(np.float64) - second.astype(np.float64)


def _resampled(values: Array, seed: int, level: float, draws: int) -> tuple[float, NDArray[np.float64]]:
    if not 0 < level < 1 or draws < 1:
        raise UsageError(f"level must lie in (0, 1) and draws be at least 1, and they are {level} and {draws}.")
    table = np.atleast_2d(values.astype(np.float64))
    if table.ndim != 2 or table.size == 0 or not np.isfinite(table).all():
        raise DataError(
            f"Values must be finite numbers, (items,) or (seeds, items), at least one, and are of size {values.shape}."
        )
    rng = np.random.default_rng(seed)
    step = max(1, CELLS // max(table.shape))
    parts = []
    for start in range(0, draws, step):
        n = min(step, draws - start)
        rows, columns = (_counts(rng, n, size) for size in table.shape)
        parts.append(np.einsum("bn,bn->b", rows @ table, columns) / table.size)
    return float(table.mean()), np.concatenate(parts)


def _counts(rng: np.random.Generator, draws: int, size: int) -> NDArray[np.float64]:
    """How often each of ``size`` things falls into each of ``draws`` resamples: (draws, size)."""
    picks = rng.integers(size, size=(draws, size)) + size * np.arange(draws)[:, None]
    return np.bincount(picks.ravel(), minlength=draws * size).reshape(draws, size).astype(np.float64)


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
