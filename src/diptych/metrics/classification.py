"""Classification metrics on class scores. NumPy in, floats out, fractions (not percent) as in CLIP_benchmark.

Scores may be of any kind that is higher for likelier classes; arguments that must be probabilities are named so. NaN
raises.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError
from diptych.metrics.interval import group_sums

Array = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]


def top_k_hits(scores: Array, labels: Labels, k: int = 1) -> NDArray[np.bool_]:
    """Return which items have their class among the k best. Ties go to the class that comes first.

    Args:
        scores: (N, K), higher is better.
        labels: (N,) class positions.
        k: at least 1.

    Returns:
        (N,) bool, the input of a paired bootstrap.

    Raises:
        DataError: sizes do not fit, a label is no class position, or a score is NaN.
    """
    return true_ranks(scores, labels) < k


def true_ranks(scores: Array, labels: Labels) -> NDArray[np.int64]:
    """Return the rank of each item's class among all, 0 is the best. Ties go to the class that comes first.

    Args:
        scores: (N, K), higher is better.
        labels: (N,) class positions.

    Raises:
        DataError: sizes do not fit, a label is no class position, or a score is NaN.
    """
    _check(scores, labels)
    true = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    return ((scores > true) | ((scores == true) & earlier)).sum(axis=1)


def weighted_mean(values: NDArray[Any], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the means of (N,) values in b resamples, given by (b, N) counts of the items: (b,)."""
    return counts @ values.astype(np.float64) / counts.sum(axis=1)


def weighted_class_mean(values: NDArray[Any], labels: Labels, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of class means in b resamples, over the classes that occur.

    Args:
        values: (N,) such as hits, whose mean over the items of a class is its recall.
        labels: (N,) class positions.
        counts: (b, N) how often each item counts; a class may be missing from a resample.

    Returns:
        (b,).
    """
    with np.errstate(invalid="ignore"):
        means = group_sums(counts * values, labels) / group_sums(counts, labels)
    present = np.isfinite(means)
    return np.where(present, means, 0.0).sum(axis=1) / present.sum(axis=1)


def class_mean_values(values: NDArray[Any], labels: Labels) -> tuple[float, NDArray[np.float64]]:
    """Return the mean of class means, and (R, N) values whose mean may be off as far as it, see ``two_way.spread``.

        m + (x - m_k) sqrt(N (N - 1) / (n_k (n_k - 1))) / K,   of a class with one item  m + (x - m) sqrt(N (N - 1)) / K

    m: the mean of class means of a seed;  m_k: that of class k, which has n_k of the N items;  K: classes that occur

    Each class is a stratum of its own. How far a class of one item may be off follows from the mean of all.

    Args:
        values: (R, N) of R seeds, such as hits.
        labels: (N,) class positions.

    Example:
        >>> class_mean_values(np.array([[1, 0, 1, 1]]), np.array([0, 0, 1, 1]))[0]
        0.75
    """
    _, place, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    x, items, classes = np.asarray(values, dtype=np.float64), len(labels), len(sizes)
    means = group_sums(x, labels) / sizes
    each = means.mean(axis=1, keepdims=True)
    scale = np.sqrt(items * (items - 1) / (sizes * np.maximum(sizes - 1, 1)))[place] / classes
    return float(means.mean()), each + (x - np.where(sizes[place] > 1, means[:, place], each)) * scale


def mean_average_precision(scores: Array, targets: NDArray[Any]) -> float:
    """Return the mean over classes of the average precision over items. Higher is better, in [0, 1].

    Args:
        scores: (N, K), higher is better.
        targets: (N, K), 1 or True where the class is in the picture.

    Returns:
        The mean over all K classes. Tied items keep their order; a class without positives counts 0, as in
        CLIP_benchmark.

    Raises:
        DataError: sizes differ, there is no item, or a score is NaN.

    Source: ``mean_average_precision`` of CLIP_benchmark (multi-label classification).
    """
    if scores.shape != targets.shape or scores.ndim != 2 or scores.size == 0:
        raise DataError(
            f"Scores {scores.shape} and targets {targets.shape} must both be (items, classes), with at least one item."
        )
    _refuse_nan(scores)
    order = np.argsort(-scores, axis=0, kind="stable")
    sorted_targets = np.take_along_axis(targets.astype(bool), order, axis=0)
    precision = sorted_targets.cumsum(axis=0) / np.arange(1, len(scores) + 1)[:, None]
    positives = sorted_targets.sum(axis=0)
    return float(((precision * sorted_targets).sum(axis=0) / np.maximum(positives, 1)).mean())


def _check(scores: Array, labels: Labels) -> None:
    if scores.ndim != 2 or labels.shape != (len(scores),) or scores.size == 0:
        raise DataError(
            f"Scores must be (items, classes) and labels (items,), with at least one item, got {scores.shape} and "
            f"{labels.shape}."
        )
    if labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise DataError(
            f"Labels must be class positions 0 to {scores.shape[1] - 1}, got {labels.min()} to {labels.max()}."
        )
    _refuse_nan(scores)


def _refuse_nan(scores: Array) -> None:
    if np.isnan(scores).any():
        raise DataError(
            f"{int(np.isnan(scores).sum())} scores are NaN, which has no rank: find the items whose "
            "embeddings are not finite."
        )
