"""Metrics and thresholds of anomaly detection. NumPy in, fractions out.

AUROC = P(an anomalous score > a normal score) + P(they are equal) / 2
AP    = sum over thresholds t of (R_t - R_{t-1}) P_t                          R, P: recall and precision of "score >= t"
PRO   = 1/L  integral_0^L  mean over regions r of |r above t| / |r|   dFPR(t)            L = 0.3
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, UsageError

Scores = NDArray[np.floating[Any]]
Marks = NDArray[np.bool_ | np.integer[Any]]
Floats = NDArray[np.float64]


def auroc(scores: Scores, labels: Marks) -> float:
    """Return the area under the ROC curve. Higher is better, in [0, 1]; 0.5 is chance.

    Args:
        scores: (N,) images, or pixels of all images together; higher is more anomalous.
        labels: (N,) True or 1 for anomalous.

    Raises:
        DataError: sizes differ, a score is not finite, or one of the two kinds is missing.
    """
    x, y = roc_curve(scores, labels)
    return _area(x, y)


def roc_curve(scores: Scores, labels: Marks) -> tuple[Floats, Floats]:
    """Return the shares of normal and of anomalous items with at least each distinct score, from (0, 0) to (1, 1).

    Args:
        scores: (N,), higher is more anomalous; tied items are one step.
        labels: (N,) True or 1 for anomalous.

    Raises:
        DataError: as ``auroc``.
    """
    values, bad = checked_scores(scores, labels)
    return _curve(values, (~bad) / (~bad).sum(), bad / bad.sum())


def average_precision(scores: Scores, labels: Marks) -> float:
    """Return the average precision, without interpolation. Higher is better, in [0, 1].

    Chance is the share of anomalous items.

    Args:
        scores: (N,), higher is more anomalous.
        labels: (N,) True or 1 for anomalous.

    Raises:
        DataError: as ``auroc``.
    """
    values, bad = checked_scores(scores, labels)
    false, true = _curve(values, (~bad).astype(np.float64), bad.astype(np.float64))
    precision = true[1:] / (true[1:] + false[1:])
    return float((np.diff(true) * precision).sum() / bad.sum())


def per_region_overlap(maps: Scores, masks: Marks, *, limit: float = 0.3) -> float:
    """Return PRO, the mean overlap of regions integrated up to a false-positive rate. Higher is better, in [0, 1].

    Regions are 8-connected; those of all images have equal weights, whatever their sizes. Every distinct score is a
    threshold, where the usual code takes 200. Chance is ``limit`` / 2.

    Args:
        maps: (N, H, W), higher is more anomalous.
        masks: (N, H, W) True for anomalous pixels.
        limit: L, false-positive rate of pixels at which the integral ends, in (0, 1].

    Raises:
        DataError: as ``auroc``, of pixels.
        UsageError: a limit outside (0, 1].

    Source: Bergmann et al. 2020 (uninformed students), section 4; limit 0.3.
    """
    from scipy import ndimage

    if not 0 < limit <= 1:
        raise UsageError(
            f"limit must be in (0, 1], got {limit}: give the false-positive rate at which the integral of PRO ends."
        )
    values, bad = checked_scores(np.ravel(maps), np.ravel(masks))
    weights, regions = np.zeros(len(bad)), 0
    for i, mask in enumerate(bad.reshape(masks.shape)):
        numbers, count = ndimage.label(mask, structure=np.ones((3, 3), dtype=int))
        shares = 1.0 / np.bincount(numbers.ravel(), minlength=count + 1).clip(1)
        shares[0] = 0.0
        weights[i * mask.size : (i + 1) * mask.size] = shares[numbers.ravel()]
        regions += count
    x, y = _curve(values, (~bad) / (~bad).sum(), weights / regions)
    inside = x <= limit
    end = float(np.interp(limit, x, y))
    return _area(np.append(x[inside], limit), np.append(y[inside], end)) / limit


def false_alarm_threshold(normal: Scores, rate: float) -> float:
    """Return the threshold that new normal items exceed with probability of at most ``rate``.

        t = the ceil((n + 1)(1 - rate))-th smallest of n normal scores;    flagged is score > t

    The bound holds on average over draws of the n items, if new normal items have the same distribution (split
    conformal prediction). It needs at least 1 / rate - 1 items.

    Args:
        normal: (n,) scores of normal items that ``fit`` did not see.
        rate: false alarms a normal item, in (0, 1).

    Raises:
        UsageError: a rate outside (0, 1).
        DataError: too few items, or a score is not finite.

    Source: Vovk et al. 2005, section 2; Laxhammar 2014 for anomalies.
    """
    _check_alarms(normal, rate)
    n, rank = len(normal), math.ceil(round((len(normal) + 1) * (1 - rate), 9))
    if rank > n:
        least = math.ceil(round(1 / rate - 1, 9))
        raise DataError(
            f"{n} normal photos cannot hold a false-alarm rate of {rate:g}: give at least {least} that were kept "
            f"aside, or a higher rate."
        )
    return float(np.sort(normal)[rank - 1])


def grouped_false_alarm_threshold(normal: Scores, groups: NDArray[np.integer[Any]], rate: float) -> float:
    """Return the threshold that a normal item of a new group exceeds with probability of at most ``rate``.

        t = the least score with  sum over items i with s_i <= t of 1 / n_i  >=  (K + 1)(1 - rate)

    Sizes: K groups; n_i items in the group of item i

    Groups such as days or stretches of frames count alike, whatever their sizes. The bound holds on average over draws
    of groups that are exchangeable with the new one. It needs at least 1 / rate - 1 groups.

    Args:
        normal: (n,) scores of normal items that ``fit`` did not see.
        groups: (n,) group of each item; groups of one item each give ``false_alarm_threshold``.
        rate: false alarms a normal item, in (0, 1).

    Raises:
        UsageError: a rate outside (0, 1).
        DataError: too few groups, or a score is not finite.

    Source: Lee, Barber and Willett 2023 (distribution-free inference with hierarchical data), section 3.
    """
    _check_alarms(normal, rate)
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(normal, kind="stable")
    total = np.cumsum(1.0 / sizes[group][order])
    place = int(np.searchsorted(total, (len(sizes) + 1) * (1 - rate) - 1e-9))
    if place >= len(total):
        least = math.ceil(round(1 / rate - 1, 9))
        raise DataError(
            f"{len(sizes)} groups of normal photos cannot hold a false-alarm rate of {rate:g}: give at least {least}, "
            "or a higher rate."
        )
    return float(np.asarray(normal, dtype=np.float64)[order][place])


def _check_alarms(normal: Scores, rate: float) -> None:
    if not 0 < rate < 1:
        raise UsageError(f"The false-alarm rate must be in (0, 1), got {rate}: give a share such as 0.05.")
    if not np.isfinite(normal).all():
        raise DataError("A score is not finite: check the photos and the detector that gave it.")


def alarm_rates(scores: Scores, labels: Marks, threshold: float) -> tuple[float, float]:
    """Return the shares of normal and of anomalous items with a score above the threshold.

    The first, the false alarms, is better when lower, the second when higher.

    Raises:
        DataError: as ``auroc``.
    """
    values, bad = checked_scores(scores, labels)
    alarm = values > threshold
    return float(alarm[~bad].mean()), float(alarm[bad].mean())


def checked_scores(scores: Scores, labels: Marks) -> tuple[Floats, NDArray[np.bool_]]:
    """Return (N,) scores as float64, and (N,) whether each is anomalous; raises DataError as ``auroc``."""
    bad = np.asarray(labels).astype(bool)
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != bad.shape or values.ndim != 1:
        raise DataError(
            f"There are scores of size {values.shape} for labels of size {bad.shape}: give one score per item."
        )
    if not np.isfinite(values).all():
        raise DataError("A score is not finite: check the photos and the detector that gave it.")
    if bad.all() or not bad.any():
        raise DataError(
            f"All {len(bad)} items are {'anomalous' if bad.any() else 'normal'}: a ranking needs both kinds."
        )
    return values, bad


def _curve(scores: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return the cumulative sums of ``x`` and ``y`` at each distinct score, highest first, from (0, 0).

    Tied scores are one step.
    """
    order = np.argsort(-scores, kind="stable")
    ends = last_of_ties(scores[order])
    return np.append(0.0, np.cumsum(x[order])[ends]), np.append(0.0, np.cumsum(y[order])[ends])


def last_of_ties(descending: Floats) -> NDArray[np.intp]:
    """Return the position of the last of each run of equal scores."""
    return np.append(np.flatnonzero(np.diff(descending)), len(descending) - 1)


def _area(x: Floats, y: Floats) -> float:
    return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2)
