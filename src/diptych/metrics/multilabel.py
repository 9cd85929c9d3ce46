"""Multi-label classification: thresholds on class scores, and F1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError

LEAST = 5
"""Positives that a class needs for its own threshold; with fewer it takes the common one (our choice)."""


def best_threshold(scores: NDArray[np.floating[Any]], targets: NDArray[Any]) -> float:
    """Return the threshold with the highest F1; of equally good ones, the highest threshold.

    Items with at least that score are positive.

    Args:
        scores: (n,), higher is likelier.
        targets: (n,) bool.

    Returns:
        One of the scores, or infinity where no target is positive.

    Raises:
        DataError: no items, sizes differ, or a score is NaN.

    Source: Lipton, Elkan and Naryanaswamy 2014, "Optimal Thresholding of Classifiers to Maximize F1 Measure".
    """
    if scores.shape != targets.shape or scores.ndim != 1 or not len(scores) or np.isnan(scores).any():
        raise DataError(f"Scores and targets must be (items,) without NaN, got {scores.shape} and {targets.shape}.")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(targets[order].astype(np.int64))
    if not hits[-1]:
        return float("inf")
    f1 = 2 * hits / (np.arange(1, len(scores) + 1) + hits[-1])
    last = np.r_[scores[order][1:] != scores[order][:-1], True]  # a threshold cannot separate equal scores
    return float(scores[order][np.where(last, f1, -1.0).argmax()])


def class_thresholds(scores: NDArray[np.floating[Any]], targets: NDArray[Any]) -> NDArray[np.float64]:
    """Return a threshold for each class, the one with its best F1 on val.

    A class with fewer than ``LEAST`` positives takes the common threshold.

    Args:
        scores: (n, K).
        targets: (n, K) bool.

    Returns:
        (K,); the common threshold has the best F1 over all cells together.

    Raises:
        DataError: no items, sizes differ, or a score is NaN.
    """
    if scores.ndim != 2:
        raise DataError(f"Scores must be (items, classes), got {scores.shape}.")
    common = best_threshold(scores.ravel(), targets.ravel())
    enough = targets.sum(axis=0) >= LEAST
    return np.array(
        [best_threshold(scores[:, k], targets[:, k]) if enough[k] else common for k in range(scores.shape[1])]
    )


def f1(predicted: NDArray[np.bool_], targets: NDArray[Any], average: str = "micro") -> float:
    """Return F1 = 2 TP / (2 TP + FP + FN). Higher is better, in [0, 1].

    Args:
        predicted: (N, K) bool.
        targets: (N, K) bool.
        average: "micro" counts all cells together, "macro" averages over classes that have a positive or a prediction.

    Raises:
        DataError: sizes differ, or there are no items.
    """
    if predicted.shape != targets.shape or predicted.ndim != 2 or predicted.size == 0:
        raise DataError(
            f"Predictions and targets must both be (items, classes), got {predicted.shape} and {targets.shape}."
        )
    truth = targets.astype(bool)
    axis = None if average == "micro" else 0
    hits, sizes = (predicted & truth).sum(axis=axis), predicted.sum(axis=axis) + truth.sum(axis=axis)
    values = np.atleast_1d(2 * hits / np.maximum(sizes, 1))
    return float(values[np.atleast_1d(sizes) > 0].mean()) if (np.atleast_1d(sizes) > 0).any() else 0.0
