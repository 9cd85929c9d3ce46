"""Selective classification: the share of items answered (coverage), and of wrong answers among them (risk).

Confidence is any number for each item that grows with certainty. Conformal risk control gives a threshold that bounds
the mean of a loss that falls as the threshold rises: on average over draws of the calibration items and a new one,
which must be exchangeable with them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, UsageError
from diptych.metrics.segmentation import IGNORE


def risk_at(confidence: NDArray[np.floating[Any]], correct: NDArray[Any], coverage: float) -> float:
    """Return the share of wrong answers among the most confident items. Lower is better, in [0, 1].

    Args:
        confidence: (N,).
        correct: (N,) bool.
        coverage: share of items that are answered, in (0, 1]; rounded up to whole items. Tied items count by their
            share.

    Raises:
        DataError: no items, or sizes differ.
        UsageError: coverage outside (0, 1].

    Source: Geifman and El-Yaniv 2017, "Selective Classification for Deep Neural Networks", section 2.
    """
    _check(confidence, correct)
    if not 0 < coverage <= 1:
        raise UsageError(f"Coverage must be in (0, 1], got {coverage}.")
    n = math.ceil(coverage * len(confidence) - 1e-9)
    return float(_risks(confidence, correct)[n - 1])


def precision_threshold(scores: NDArray[np.floating[Any]], right: NDArray[Any], precision: float) -> float:
    """Return the lowest score from which on items are right with a given probability, with 95 % confidence.

        lower(k) = the one-sided 95 % Clopper-Pearson bound of the share right among the k highest scores
        k goes up from K to the last one before lower(k) < precision
        K        = max(n, min(3 n, N / 2)),   n: the first number of items that could pass at all

    The first test is at more than n items, since at n a single wrong one fails it. The order of the tests is fixed by
    the scores alone, so stopping at the first that fails keeps the level: in at least 95 % of labelled samples the
    share right of further items from the threshold on is ``precision`` or more, where these are drawn as the labelled
    ones were.

    Args:
        scores: (N,) higher is surer.
        right: (N,) bool.
        precision: in (0, 1).

    Raises:
        UsageError: precision outside (0, 1).
        DataError: no items, sizes differ, or no threshold passes.

    Source: Angelopoulos et al. 2021, "Learn then Test" (fixed sequence testing).
    """
    from scipy.stats import beta

    _check(scores, right)
    if not 0 < precision < 1:
        raise UsageError(f"Precision must be in (0, 1), got {precision}.")
    order = np.argsort(-scores, kind="stable")
    down, hits = np.asarray(scores, dtype=np.float64)[order], np.cumsum(np.asarray(right, dtype=bool)[order])
    counts = np.arange(1, len(down) + 1)
    last = np.append(down[1:] < down[:-1], True)  # a threshold takes all items of one score
    least = math.ceil(math.log(0.05) / math.log(precision))
    tested = np.flatnonzero(last & (counts >= max(least, min(3 * least, len(down) // 2))))
    bounds = beta.ppf(0.05, hits[tested], counts[tested] - hits[tested] + 1)
    failed = np.flatnonzero(~(bounds >= precision))  # of no hits the bound is NaN
    passed = tested[: failed[0]] if len(failed) else tested
    if not len(passed):
        best = float((hits / counts)[last].max())
        raise DataError(
            f"No threshold promises a precision of {precision:g} on {len(down)} labelled items (the surest are right "
            f"in a share of {best:.2f}): ask for less, or label more."
        )
    return float(down[passed[-1]])


def _risks(confidence: NDArray[np.floating[Any]], correct: NDArray[Any]) -> NDArray[np.float64]:
    """Return the risk at every coverage; each item of a tie counts as the average of the tie."""
    _, group = np.unique(-np.asarray(confidence, dtype=np.float64), return_inverse=True)
    wrong = ~np.asarray(correct, dtype=bool)
    expected = (np.bincount(group, weights=wrong) / np.bincount(group))[group]
    ordered = expected[np.argsort(group, kind="stable")]
    return np.cumsum(ordered) / np.arange(1, len(ordered) + 1)


def _check(confidence: NDArray[Any], correct: NDArray[Any]) -> None:
    if confidence.ndim != 1 or confidence.shape != correct.shape or not len(confidence) or np.isnan(confidence).any():
        raise DataError(
            f"Confidence and correct must be (items,) without NaN, got {confidence.shape} and {correct.shape}."
        )


def check_enough(n: int, risk: float) -> None:
    """Refuse a risk that n calibration photos cannot promise, whatever their losses are.

    Raises:
        UsageError: the risk is no share, or n is below 1 / risk - 1.

    Example:
        >>> check_enough(9, 0.1)
    """
    if not 0 < risk < 1:
        raise UsageError(f"The risk must be in (0, 1), got {risk}: give a share such as 0.1.")
    if 1 / (n + 1) > risk + 1e-12:
        need = math.ceil(1 / risk - 1 - 1e-9)
        raise UsageError(f"{n} calibration photos cannot promise a risk of {risk:g}: give {need} or more.")


def risk_threshold(losses: NDArray[np.floating], thresholds: NDArray[np.floating], risk: float) -> float:
    """Return the least threshold at which a new item's expected loss is at most ``risk``.

        t = min { t_j :  (sum over i of L_i(t_k) + 1) / (n + 1) <= risk  for all k >= j }

    n: calibration items;  L_i(t): loss of item i at threshold t, at most 1;  the 1 stands for the new item, at worst

    Args:
        losses: (n, T) in [0, 1]. Each row must not rise with the threshold.
        thresholds: (T,) in rising order. Above the last one nothing is answered, and the loss is 0.
        risk: bound, in (0, 1).

    Returns:
        One of the thresholds; infinity where even the last one is too low, and nothing can be answered.

    Raises:
        UsageError: a risk outside (0, 1), or smaller than 1 / (n + 1), which n items cannot promise.
        DataError: no item, a loss outside [0, 1], or one that rises.

    Source: Angelopoulos et al. 2022, "Conformal Risk Control" (arXiv 2208.02814), theorem 1.

    Example:
        >>> losses = np.array([[0.4, 0.2, 0.0], [0.2, 0.0, 0.0], [0.6, 0.1, 0.1], [0.2, 0.1, 0.0]])
        >>> risk_threshold(losses, np.array([0.0, 0.5, 0.9]), 0.3)
        0.5
    """
    if losses.ndim != 2 or not len(losses) or losses.shape[1] != len(thresholds):
        raise DataError(f"Losses are (items, thresholds) with at least one item, got {losses.shape}.")
    if not (losses >= 0).all() or not (losses <= 1).all() or (np.diff(losses, axis=1) > 1e-12).any():
        raise DataError("A loss must be in [0, 1] and must not rise with the threshold.")
    n = len(losses)
    check_enough(n, risk)
    bounded = (losses.sum(axis=0) + 1) / (n + 1) <= risk + 1e-12
    first = len(thresholds) - int(np.argmin(bounded[::-1])) if not bounded.all() else 0
    return float(thresholds[first]) if first < len(thresholds) else math.inf


def wrong_pixels(
    labels: NDArray[np.integer],
    scores: NDArray[np.floating],
    truth: NDArray[np.integer],
    thresholds: NDArray[np.floating],
    ignore: int = IGNORE,
) -> NDArray[np.float64]:
    """Return the share of an image's pixels that are named, and wrongly, at each threshold.

    Args:
        labels: (H, W) predicted classes.
        scores: (H, W) of the prediction; a pixel is named where its score is at least the threshold.
        truth: (H, W) classes, or ``ignore``.
        thresholds: (T,) in rising order.
        ignore: label of pixels that do not count.

    Returns:
        (T,) in [0, 1]; zeros where no pixel counts.
    """
    counted = truth != ignore
    wrong = np.sort(scores[counted & (labels != truth)])
    return (len(wrong) - np.searchsorted(wrong, thresholds, side="left")) / max(1, int(counted.sum()))
