"""Scores and rates of out-of-distribution detection: is this item of any of the classes? NumPy in, fractions out.

    mcm(x)      = max_k softmax( cos(x, k) / T )_k
    energy(x)   = T logsumexp_k( s(x, k) / T )
    nearest(x)  = cosine to the k-th nearest item of a bank
    FPR@r       = share of other items above the threshold whose recall of in-distribution items is nearest to r

cos(x, k): cosine of image x and class k, which must not be multiplied by the model's scale: scaled by 100, nearly all
confidences are near 1 and items no longer differ
s(x, k): cosines, or a classifier's logits
T: temperature, 1

In-distribution items score higher.

Source: Ming et al. 2022 (MCM); Liu et al. 2020 (energy); Sun et al. 2022 (nearest neighbours).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, UsageError

Floats = NDArray[np.float64]
Scores = NDArray[np.floating[Any]]
FAR = 1.0 + 1e-3
"""A cosine is at most 1, up to rounding."""


def maximum_concept_matching(cosines: Scores, temperature: float = 1.0) -> Floats:
    """Return MCM of N items, (N,), in (0, 1].

    Args:
        cosines: (N, K) cosines of images and classes; -inf for a class that is no candidate.
        temperature: T > 0.

    Raises:
        DataError: a value is no cosine, such as a logit.
        UsageError: T is not above 0.
    """
    largest = float(np.abs(cosines[~np.isneginf(cosines)]).max(initial=0.0))
    if not largest <= FAR:
        raise DataError(
            f"MCM takes cosines, in [-1, 1], got {largest:.4g}: give them without the scale, and none that is NaN."
        )
    return maximum_probability(cosines / _above(temperature))


def maximum_probability(logits: Scores) -> Floats:
    """Return the greatest softmax probability of N items, (N,), of (N, K) logits."""
    from scipy.special import softmax

    return np.asarray(softmax(logits.astype(np.float64), axis=1).max(axis=1))


def energy(scores: Scores, temperature: float = 1.0) -> Floats:
    """Return the negative free energy of N items, (N,), of (N, K) cosines or logits; T > 0."""
    from scipy.special import logsumexp

    t = _above(temperature)
    return np.asarray(t * logsumexp(scores.astype(np.float64) / t, axis=1))


def nearest(items: Scores, bank: Scores, k: int) -> Floats:
    """Return the cosine of N items to their k-th nearest item of a bank, (N,).

    Args:
        items: (N, D) unit vectors.
        bank: (M, D) unit vectors of in-distribution items, none of which is among the N.
        k: from 1 to M.

    Raises:
        UsageError: k is outside its range.
    """
    if not 1 <= k <= len(bank):
        raise UsageError(f"k must be in [1, {len(bank)}], the items of the bank, got {k}.")
    cosines = items.astype(np.float64) @ bank.astype(np.float64).T
    return np.asarray(np.partition(cosines, len(bank) - k, axis=1)[:, len(bank) - k])


def false_positive_rate(inside: Scores, outside: Scores, recall: float = 0.95) -> tuple[float, float, float]:
    """Return FPR at the threshold whose recall is nearest to the wanted one, that recall, and the threshold.

    Of two recalls that are equally near, the higher one is taken, and of the thresholds with that recall the highest.
    (MCM's code takes the lowest of the scores with that recall, and counts more false positives where scores are few.)
    Lower is better; chance is the recall.

    Args:
        inside: (N,) scores of in-distribution items; higher is more like them.
        outside: (M,) scores of other items.
        recall: r, in (0, 1].

    Raises:
        DataError: one side is empty, or a score is not finite.
        UsageError: the recall is outside its range.
    """
    if not len(inside) or not len(outside) or not np.isfinite(np.concatenate([inside, outside])).all():
        raise DataError(
            f"Scores must be finite and of both kinds, got {len(inside)} inside and {len(outside)} outside."
        )
    if not 0 < recall <= 1:
        raise UsageError(f"recall must be in (0, 1], got {recall}.")
    thresholds = np.unique(inside)
    recalls = (len(inside) - np.searchsorted(np.sort(inside), thresholds)) / len(inside)
    best = int(np.lexsort((-recalls, np.abs(recalls - recall).round(12)))[0])
    return float((outside >= thresholds[best]).mean()), float(recalls[best]), float(thresholds[best])


def _above(temperature: float) -> float:
    if not temperature > 0:
        raise UsageError(f"temperature must be above 0, got {temperature}.")
    return temperature
