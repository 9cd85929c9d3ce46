"""Whether probabilities mean what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core.errors import DataError, UsageError


def expected_calibration_error(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], bins: int = 15) -> float:
    """Return the gap between confidence and accuracy, averaged over bins of confidence. Lower is better, in [0, 1].

        ECE = sum over bins m of  |B_m| / N  |accuracy(B_m) - confidence(B_m)|

    Args:
        probabilities: (N, K), each row in [0, 1] with sum 1; the confidence is the largest of a row.
        labels: (N,) class positions.
        bins: number M of bins of equal width, the m-th ((m-1)/M, m/M]; empty bins count nothing.

    Returns:
        The error; bins are weighted by their share of items.

    Raises:
        UsageError: bins is below 1.
        DataError: sizes do not fit, a label is no class position, or a row is no distribution (cosines and logits are none).

    Source: Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017), equation 3.
    """
    if bins < 1:
        raise UsageError(f"bins must be at least 1, and is {bins}.")
    if probabilities.ndim != 2 or labels.shape != (len(probabilities),) or probabilities.size == 0:
        raise DataError(f"Probabilities must be (items, classes) and labels (items,), and are {probabilities.shape} and {labels.shape}.")
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise DataError(f"Labels must be class positions 0 to {probabilities.shape[1] - 1}, and run from {labels.min()} to {labels.max()}.")
    p = probabilities.astype(np.float64)
    if not (np.all(p >= 0) and np.allclose(p.sum(axis=1), 1, atol=1e-3)):
        raise DataError("Rows must be probabilities that sum to 1: take the softmax of logits first; cosines have no calibration.")
    confidence = p.max(axis=1)
    gap = (p.argmax(axis=1) == labels) - confidence
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    return float(np.abs(np.bincount(place, weights=gap, minlength=bins)).sum() / len(p))
