"""AUROC of detectors over seeds and items, with its intervals. NumPy in, fractions out."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from diptych.metrics.detection import Floats, Marks, Scores, auroc, checked_scores, last_of_ties
from diptych.metrics.estimate import Interval
from diptych.metrics.interval import both_ends, by_count, check_paired, lower_bound, per_seed, resample, within
from diptych.metrics.two_way import differ, share_interval, spread, t_interval


def auroc_interval(scores: Scores, labels: Marks, *, level: float = 0.95) -> Interval:
    """Return AUROC averaged over seeds, with its two-sided interval.

    Its variance over items is that of DeLong, with the degrees of freedom of Welch; seeds and items are crossed, see
    ``metrics.two_way``. The interval is that of a share of at most R N cases: N perfectly ranked items give that of N
    hits. It holds the truth in 94 to 99 % of runs from 10 + 10 items on.

    Args:
        scores: (R, N) of R seeds on the same items.
        labels: (N,) True or 1 for anomalous.
        level: share of intervals that contain the truth, in (0, 1).

    Raises:
        DataError: as ``auroc``, of each seed.

    Source: DeLong, DeLong and Clarke-Pearson 1988; ``two_way.share_interval``.

    Example:
        >>> interval = auroc_interval(np.arange(20.0)[None], np.arange(20) >= 10)
        >>> round(interval.low, 2), interval.value, interval.high
        (0.84, 1.0, 1.0)
    """
    value, placed, degrees = _placed(scores, labels)
    return share_interval(value, spread(placed, degrees), placed.shape[1], most=placed.size, level=level)


def auroc_gain(
    first: Scores, second: Scores, labels: Marks, seed: int, *, level: float = 0.95, draws: int = 2000
) -> Interval:
    """Return the gain in AUROC of ``first`` over ``second``, paired by seed and item, with its one-sided lower bound.

    Args:
        first: (R, N) scores of R seeds.
        second: (R, N): the same seeds and items, in the same order. Constant scores are chance.
        labels: (N,) True or 1 for anomalous.
        seed: seed of the resampling.
        level: share of resampled gains above the bound.
        draws: resampled gains.

    Raises:
        DataError: sizes differ.
    """
    drawn = _resampled(first, second, labels, seed, draws)
    gain = np.mean([auroc(a, labels) - auroc(b, labels) for a, b in zip(first, second, strict=True)])
    bad = np.asarray(labels).astype(bool)
    units = int(min(bad.sum(), (~bad).sum()))  # so many pairs of a normal and an anomalous item share none
    return lower_bound(float(gain), drawn, level, units=units, possible=(-1.0, 1.0))


def auroc_difference(first: Scores, second: Scores, labels: Marks, seed: int) -> Interval:
    """Return the gain in AUROC of ``first`` over ``second``, paired by seed and item, with its two-sided 95 % interval.

    Over several seeds it is Student's, see ``auroc_interval``; of one seed, or where all seeds gain alike, it is that
    of the bootstrap of ``auroc_gain``.

    Args:
        first: (R, N) scores of R seeds.
        second: (R, N): the same seeds and items, in the same order. Constant scores are chance.
        labels: (N,) True or 1 for anomalous.
        seed: seed of the resampling.

    Raises:
        DataError: sizes differ.

    Example:
        >>> rng, bad = np.random.default_rng(0), np.arange(100) < 50
        >>> good, poor = (rng.normal(size=(3, 100)) + strength * bad for strength in (2.0, 0.5))
        >>> auroc_difference(good, poor, bad, seed=0).low > 0
        True
    """
    check_paired(first, second)
    (value, placed, _), (base, placed_other, _) = (_placed(scores, labels) for scores in (first, second))
    if differ(placed - placed_other):
        return t_interval(value - base, spread(placed - placed_other))
    return both_ends(auroc_gain, first, second, labels, seed)


def _placed(scores: Scores, labels: Marks) -> tuple[float, Floats, float]:
    """Return AUROC averaged over seeds; (R, N) values whose mean may be off as far as it; and Welch's degrees."""
    checked = [checked_scores(row, labels) for row in scores]
    rows, bad = np.stack([values for values, _ in checked]), checked[0][1]
    n, placed, parts = len(bad), np.empty(rows.shape), []
    ranks = rankdata(rows, axis=1)
    for kind in (bad, ~bad):
        above = (ranks[:, kind] - rankdata(rows[:, kind], axis=1)) / (~kind).sum()
        placed[:, kind] = above if kind is bad else 1 - above
        parts.append(placed[:, kind].var(axis=1).mean() / max(kind.sum() - 1, 1))
    values = placed[:, bad].mean(axis=1, keepdims=True)
    for kind in (bad, ~bad):  # so that the variance of the mean of all N is the sum of the two kinds'
        size = kind.sum()
        placed[:, kind] = values + (placed[:, kind] - values) * np.sqrt(n * (n - 1) / (size * max(size - 1, 1)))
    sizes = np.maximum([bad.sum() - 1, (~bad).sum() - 1], 1)
    degrees = sum(parts) ** 2 / float((np.square(parts) / sizes).sum()) if sum(parts) else math.inf
    return float(values.mean()), placed, float(degrees)


def _resampled(scores: Scores, over: Scores, labels: Marks, seed: int, draws: int) -> Floats:
    """Return the gain in AUROC, averaged over seeds, in resamples of normal items, anomalous items and seeds."""
    for row in scores:
        checked_scores(row, labels)
    bad = np.asarray(labels).astype(bool)
    sizes = np.where(bad, bad.sum(), (~bad).sum())

    def metric(row: Scores, items: Floats) -> Floats:
        return _weighted(np.asarray(row, dtype=np.float64), bad, items / sizes)

    axes = ((1, within(bad, ~bad)), (0, by_count))
    return resample(scores, per_seed(metric), seed, over=over, draws=draws, axes=axes)


def _weighted(scores: Floats, bad: NDArray[np.bool_], weights: Floats) -> Floats:
    """Return (n,) AUROCs of (n, N) weights of items."""
    order = np.argsort(-scores, kind="stable")
    ends = last_of_ties(scores[order])
    x, y = (np.cumsum(np.where(kind, weights, 0.0)[:, order], axis=1)[:, ends] for kind in (~bad, bad))
    x, y = (np.concatenate([np.zeros((len(v), 1)), v], axis=1) for v in (x, y))
    return (np.diff(x) * (y[:, 1:] + y[:, :-1])).sum(1) / 2
