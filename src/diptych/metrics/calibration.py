"""Calibration of probabilities: its error, and temperature scaling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, UsageError
from diptych.metrics.interval import group_sums


def expected_calibration_error(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], bins: int = 15
) -> float:
    """Return the gap between confidence and accuracy, averaged over bins of confidence. Lower is better, in [0, 1].

        ECE = sum over bins m of  |B_m| / N  |accuracy(B_m) - confidence(B_m)|

    B_m: the items whose confidence is in bin m, of N items in all

    Args:
        probabilities: (N, K), each row in [0, 1] with sum 1; the confidence is the largest of a row.
        labels: (N,) class positions.
        bins: number M of bins of equal width, the m-th ((m-1)/M, m/M]; empty bins count nothing.

    Returns:
        The error; bins are weighted by their share of items.

    Raises:
        UsageError: bins is below 1.
        DataError: sizes do not fit, a label is no class position, or a row is no distribution (such as cosines or
            logits).

    Source: Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017), equation 3.
    """
    if bins < 1:
        raise UsageError(f"bins must be at least 1, got {bins}.")
    if probabilities.ndim != 2 or labels.shape != (len(probabilities),) or probabilities.size == 0:
        raise DataError(
            f"Probabilities must be (items, classes) and labels (items,), got {probabilities.shape} and {labels.shape}."
        )
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise DataError(
            f"Labels must be class positions 0 to {probabilities.shape[1] - 1}, got {labels.min()} to {labels.max()}."
        )
    p = probabilities.astype(np.float64)
    if not (np.all(p >= 0) and np.allclose(p.sum(axis=1), 1, atol=1e-3)):
        raise DataError(
            "Rows must be probabilities that sum to 1: take the softmax of logits first; cosines have no calibration."
        )
    hits = p.argmax(axis=1) == labels
    return float(weighted_calibration_error(p.max(axis=1), hits, np.ones((1, len(p))), bins)[0])


def confidence_bins(confidence: NDArray[np.floating[Any]], bins: int = 15) -> NDArray[np.int64]:
    """Return the (N,) bin of each confidence in [0, 1], of ``bins`` bins of equal width, closed on the right."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def weighted_calibration_error(
    confidence: NDArray[np.floating[Any]], hits: NDArray[np.bool_], counts: NDArray[np.float64], bins: int = 15
) -> NDArray[np.float64]:
    """Return ``expected_calibration_error`` of b resamples.

    Args:
        confidence: (N,) probability of the predicted class.
        hits: (N,) whether it is right.
        counts: (b, N) how often each item counts.
        bins: number of bins of equal width.

    Returns:
        (b,).
    """
    gaps = group_sums(counts * (hits - confidence), confidence_bins(confidence, bins))
    return np.abs(gaps).sum(axis=1) / counts.sum(axis=1)


WARMEST = 1e3
"""Largest temperature, which pure noise gets; its inverse, the smallest, is what separable data get."""


def fit_temperature(logits: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
    """Return the temperature T that makes the labels likeliest under softmax(logits / T).

        T = argmin of  - mean over items of  log softmax(logits / T)[true class]

    T is above 1 where the model is overconfident, and changes no ranks. The loss is convex in 1 / T, so it has one
    minimum.

    Args:
        logits: (n, K) logits or log-probabilities; -inf marks classes that are no candidates.
        labels: (n,) class positions.

    Returns:
        T in [1/1000, 1000]. Items whose true class is no candidate are left out. Where the spread of the logits, the
        mean distance of an item's largest to the mean of its finite ones, is below 1, as that of a linear probe under a
        strong penalty, T may lie below 1/1000, down to a thousandth of the spread.

    Raises:
        DataError: sizes do not fit, no item is left, or a logit is NaN.

    Source: Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017), section 4.2.
    """
    if logits.ndim != 2 or labels.shape != (len(logits),) or np.isnan(logits).any():
        raise DataError(
            f"Logits must be (items, classes) without NaN and labels (items,), got {logits.shape} and {labels.shape}."
        )
    usable = np.isfinite(logits[np.arange(len(logits)), labels])
    if not usable.any():
        raise DataError(
            "No calibration item has its true class among the candidates, so no temperature can be fitted: give more "
            "items."
        )
    z, y = logits[usable].astype(np.float64), labels[usable]
    temperature = _likeliest(z, y)
    spread = float((z.max(axis=1) - np.mean(z, axis=1, where=np.isfinite(z))).mean())
    if temperature * WARMEST < 1.01 and 0 < spread < 1:
        temperature = spread * _likeliest(z / spread, y)
    return temperature


def _likeliest(logits: NDArray[np.float64], labels: NDArray[np.integer[Any]]) -> float:
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def loss(log_t: float) -> float:
        return -float(log_softmax(logits * np.exp(-log_t), axis=1)[rows, labels].mean())

    rows, bound = np.arange(len(labels)), float(np.log(WARMEST))
    return float(np.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded", options={"xatol": 1e-7}).x))
