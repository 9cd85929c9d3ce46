"""Conformal thresholds: sets that contain the true class, and a bounded rate of false "unknown".

The guarantees hold for new items that are exchangeable with the calibration items, on average over draws of both.
Calibration items must be of the same kind of pictures and not used to fit or choose. There is no guarantee for a single
class or under a shift.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, UsageError

LEAST = 10
"""Calibration items that a class needs for a threshold of its own (our choice)."""


def set_threshold(true_probabilities: NDArray[np.floating[Any]], level: float) -> float:
    """Return the threshold on probabilities whose sets contain the true class in a share ``level`` of items.

        t = the i-th smallest probability of the true class,  i = floor((n + 1) (1 - level))

    Args:
        true_probabilities: (n,) probability of the true class of each calibration item.
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
        raise UsageError(f"The coverage of sets must be in (0, 1), got {level}: give a share such as 0.9.")
    return _smallest(true_probabilities, 1 - level, -math.inf)


def class_thresholds(
    true_probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], classes: int, level: float
) -> NDArray[np.float64]:
    """Return a threshold for each class: its own where it has enough calibration items, else the common one.

    Args:
        true_probabilities: (n,) probability of the true class of each calibration item.
        labels: (n,) class positions.
        classes: K.
        level: wanted coverage within every class with its own threshold.

    Returns:
        (K,) thresholds. A class has its own if it has ``LEAST`` items, and level / (1 - level) of them.

    Raises:
        UsageError: level outside (0, 1).
        DataError: no items.

    Source: Vovk 2012, "Conditional validity of inductive conformal predictors", section 4 (label-conditional).
    """
    common = set_threshold(true_probabilities, level)
    needed = max(LEAST, math.ceil(level / (1 - level) - 1e-9))
    counts = np.bincount(labels, minlength=classes)
    return np.array(
        [
            set_threshold(true_probabilities[labels == k], level) if counts[k] >= needed else common
            for k in range(classes)
        ]
    )


def unknown_threshold(confidence: NDArray[np.floating[Any]], rate: float) -> float:
    """Return the confidence below which an item is called unknown.

    At most a share ``rate`` of known items is called unknown.

    Args:
        confidence: (n,) of calibration items, all of known classes.
        rate: false-alarm rate, in (0, 1).

    Returns:
        The threshold; an item is unknown when its confidence is strictly below it.

    Raises:
        UsageError: rate outside (0, 1), or smaller than 1 / (n + 1), which n items cannot guarantee.
        DataError: no items.
    """
    if not 0 < rate < 1:
        raise UsageError(f"The rate of false unknowns must be in (0, 1), got {rate}: give a share such as 0.05.")
    if math.floor((len(confidence) + 1) * rate + 1e-9) < 1:
        need = math.ceil(1 / rate - 1 - 1e-9)
        raise UsageError(
            f"{len(confidence)} calibration items cannot guarantee a false-alarm rate of {rate}: give {need} or more."
        )
    return _smallest(confidence, rate, -math.inf)


def sets(probabilities: NDArray[np.floating[Any]], threshold: float | NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which classes are in the set of each item.

    The likeliest class always is, which can only raise coverage.

    Args:
        probabilities: (N, K).
        threshold: one for all classes, or (K,).

    Returns:
        (N, K) bool.
    """
    inside: NDArray[np.bool_] = probabilities >= threshold
    inside[np.arange(len(inside)), probabilities.argmax(axis=1)] = True
    return inside


def false_alarm_shares(
    scores: NDArray[np.floating[Any]], clean: NDArray[np.floating[Any]], groups: NDArray[np.integer[Any]] | None = None
) -> NDArray[np.float64]:
    """Return the conformal p-value of each score: how often a clean item would score as high.

        p_i = (1 + sum over j with c_j >= s_i of 1 / n_j) / (K + 1)

    Sizes: K groups of clean items; n_j items in the group of item j. Without groups K = n and n_j = 1

    Args:
        scores: (N,) s, higher stands out more.
        clean: (n,) c, of items in which nothing stands out and that fit did not see.
        groups: (n,) group of each clean item, such as a stretch of frames, where only groups are exchangeable.

    Returns:
        (N,) in [1 / (K + 1), 1].

    Raises:
        DataError: no clean item, or a value that is not finite.

    Source: Vovk et al. 2005, section 2.2; Lee, Barber and Willett 2023 for groups.
    """
    if clean.ndim != 1 or not len(clean) or not np.isfinite(clean).all() or not np.isfinite(scores).all():
        raise DataError(f"A p-value takes finite scores and at least one clean item, and got {clean.shape}.")
    order = np.argsort(clean)
    _, group, sizes = np.unique(
        np.arange(len(clean)) if groups is None else groups, return_inverse=True, return_counts=True
    )
    above = np.append(np.cumsum((1 / sizes[group][order])[::-1])[::-1], 0.0)  # of the items from each place on
    return (1 + above[np.searchsorted(clean[order], scores, side="left")]) / (len(sizes) + 1)


def raised(scores: NDArray[np.floating[Any]], clean: NDArray[np.floating[Any]], *, share: float = 0.2) -> float:
    """Return a p-value of the claim that scores are those of clean items but for at most a share of others.

        k = #{i: s_i > u},  u the 97.5 % upper end of the median of clean items, an order statistic
        p = 0.025 + P(Binomial(N, (1 + share) / 2) >= k)

    A clean item exceeds the median in one case of two, and one of the others at most always. So a small p says that
    more than the share are others, or that even clean items now score higher: light, camera or time have changed, and a
    threshold from the clean items does not hold its rate.

    Each item counts as one independent draw, on both sides. Photos of one thing, or frames of one film, are not: give
    one of them, or p is too small.

    Args:
        scores: (N,) s of independent items, higher stands out more.
        clean: (n,) c, of independent items in which nothing stands out and that fit did not see.
        share: of items that may be others, in [0, 1).

    Returns:
        In (0, 1]; 1 where the clean items are too few for the upper end, fewer than 6.

    Raises:
        DataError: no score, no clean item, or a value that is not finite.
        UsageError: a share outside [0, 1).

    Source: the sign test; David and Nagaraja 2003, section 7.1, for the interval of a median.

    Example:
        >>> import numpy as np
        >>> clean = np.arange(40.0)
        >>> raised(clean, clean) > 0.5
        True
        >>> raised(clean + 20, clean) < 0.05  # all photos score higher than before
        True
    """
    from scipy.stats import binom

    if not 0 <= share < 1:
        raise UsageError(f"share must be in [0, 1), got {share}: give the share of items that may be others.")
    if not len(scores) or not len(clean) or not np.isfinite(clean).all() or not np.isfinite(scores).all():
        raise DataError(f"A shift takes finite scores of both kinds, and got {len(scores)} and {len(clean)}.")
    rank = int(binom.ppf(0.975, len(clean), 0.5))
    if rank >= len(clean):
        return 1.0
    above = int((scores > np.sort(clean)[rank]).sum())
    return min(1.0, 0.025 + float(binom.sf(above - 1, len(scores), (1 + share) / 2)))


def _smallest(values: NDArray[np.floating[Any]], share: float, none: float) -> float:
    """Return the floor((n + 1) share)-th smallest value; ``none`` where that is the 0-th."""
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise DataError(f"Calibration needs finite values (items,), at least one, got size {values.shape}.")
    rank = math.floor((len(values) + 1) * share + 1e-9)
    return float(np.sort(values)[rank - 1]) if rank else none
