"""Thresholds with a promise: sets that hold the true class, and an "unknown" that known classes rarely get.

All promises are about new items that are exchangeable with the calibration items (same kind of pictures, none used to
fit or choose), averaged over draws of both; they say nothing about a single class or a shifted camera.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core.errors import DataError, UsageError

LEAST = 10
"""Calibration items of a class below which it is given no threshold of its own (ours)."""


def set_threshold(own: NDArray[np.floating[Any]], level: float) -> float:
    """Return the probability from which on a class enters the set, so that sets hold the true class in a share
    ``level`` of items.

        t = the i-th smallest probability of the true class,  i = floor((n + 1) (1 - level))

    Args:
        own: (n,) probability that each calibration item got for its true class.
        level: wanted coverage, in (0, 1).

    Returns:
        The threshold: a class is in the set when its probability is at least t. -inf (all classes) where n is too small
        for the level.

    Raises:
        UsageError: level outside (0, 1).
        DataError: no items.

    Source: Vovk et al. 2005 (split conformal); Sadinle, Lei and Wasserman 2019 (least ambiguous sets), section 3.
    """
    if not 0 < level < 1:
        raise UsageError(f"The coverage of sets is a share in (0, 1), such as 0.9, not {level}.")
    return _smallest(own, 1 - level, -math.inf)


def class_thresholds(
    own: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], classes: int, level: float
) -> NDArray[np.float64]:
    """Return a threshold for each class: its own where it has enough calibration items, else the common one.

    Args:
        own: (n,) probability that each calibration item got for its true class.
        labels: (n,) class positions.
        classes: K.
        level: wanted coverage within every class that has its own.

    Returns:
        (K,) thresholds; a class needs ``LEAST`` items, and (1 - t) / t of them for the share 1 - t that may be missed.

    Raises:
        UsageError: level outside (0, 1).
        DataError: no items.

    Source: Vovk 2012, "Conditional validity of inductive conformal predictors", section 4 (label-conditional).
    """
    common = set_threshold(own, level)
    needed = max(LEAST, math.ceil(level / (1 - level) - 1e-9))
    counts = np.bincount(labels, minlength=classes)
    return np.array([set_threshold(own[labels == k], level) if counts[k] >= needed else common for k in range(classes)])


def unknown_threshold(confidence: NDArray[np.floating[Any]], rate: float) -> float:
    """Return the confidence below which an item is called unknown, so that known items get that answer in a share
    ``rate`` at most.

    Args:
        confidence: (n,) of calibration items, all of known classes.
        rate: false-alarm rate, in (0, 1).

    Returns:
        The threshold; an item is unknown when its confidence lies strictly below.

    Raises:
        UsageError: rate outside (0, 1), or smaller than 1 / (n + 1), which n items cannot promise.
        DataError: no items.
    """
    if not 0 < rate < 1:
        raise UsageError(f"The rate of false unknowns is a share in (0, 1), such as 0.05, not {rate}.")
    if math.floor((len(confidence) + 1) * rate + 1e-9) < 1:
        need = math.ceil(1 / rate - 1 - 1e-9)
        raise UsageError(
            f"{len(confidence)} calibration items cannot promise a false-alarm rate of {rate}: it takes {need} or more."
        )
    return _smallest(confidence, rate, -math.inf)


def sets(probabilities: NDArray[np.floating[Any]], threshold: float | NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which classes are in the set of each item; the likeliest one always is, which can only raise coverage.

    Args:
        probabilities: (N, K).
        threshold: one for all classes, or (K,).

    Returns:
        (N, K) bool.
    """
    inside: NDArray[np.bool_] = probabilities >= threshold
    inside[np.arange(len(inside)), probabilities.argmax(axis=1)] = True
    return inside


def false_alarm_shares(scores: NDArray[np.floating[Any]], clean: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the conformal p-value of each score: how often a clean item would score as high.

        p_i = (1 + #{j: c_j >= s_i}) / (n + 1)

    Args:
        scores: (N,) s, higher stands out more.
        clean: (n,) c, of items in which nothing stands out and that fit did not see.

    Returns:
        (N,) in [1 / (n + 1), 1].

    Raises:
        DataError: no clean item, or a value that is not finite.

    Source: Vovk et al. 2005, section 2.2.
    """
    if clean.ndim != 1 or not len(clean) or not np.isfinite(clean).all() or not np.isfinite(scores).all():
        raise DataError(f"A p-value takes finite scores and at least one clean item, and got {clean.shape}.")
    above = len(clean) - np.searchsorted(np.sort(clean), scores, side="left")
    shares: NDArray[np.float64] = (1 + above) / (len(clean) + 1)
    return shares


def _smallest(values: NDArray[np.floating[Any]], share: float, none: float) -> float:
    """Return the floor((n + 1) share)-th smallest value; ``none`` where that is the 0-th."""
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise DataError(f"Calibration takes finite values (items,), at least one, and got {values.shape}.")
    place = math.floor((len(values) + 1) * share + 1e-9)
    return float(np.sort(values)[place - 1]) if place else none
