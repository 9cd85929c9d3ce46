"""Conformal risk control: a threshold that bounds the mean of a loss that falls as the threshold rises.

The bound holds on average over draws of the calibration items and a new one, which must be exchangeable with them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, UsageError
from diptych.metrics.segmentation import IGNORE


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
    if not 0 < risk < 1:
        raise UsageError(f"The risk must be in (0, 1), got {risk}: give a share such as 0.1.")
    if losses.ndim != 2 or not len(losses) or losses.shape[1] != len(thresholds):
        raise DataError(f"Losses are (items, thresholds) with at least one item, got {losses.shape}.")
    if not (losses >= 0).all() or not (losses <= 1).all() or (np.diff(losses, axis=1) > 1e-12).any():
        raise DataError("A loss must be in [0, 1] and must not rise with the threshold.")
    n = len(losses)
    if 1 / (n + 1) > risk + 1e-12:
        need = math.ceil(1 / risk - 1 - 1e-9)
        raise UsageError(f"{n} calibration photos cannot promise a risk of {risk:g}: give {need} or more.")
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
