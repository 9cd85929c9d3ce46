"""Selective classification: the share of items answered (coverage), and of wrong answers among them (risk).

Confidence is any number for each item that grows with certainty.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core.errors import DataError, UsageError


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


def area_under_risk_coverage(confidence: NDArray[np.floating[Any]], correct: NDArray[Any]) -> float:
    """Return the risk averaged over all coverages 1/N, 2/N ... 1. Lower is better, in [0, 1].

    Ties count by their expected order.

    Args:
        confidence: (N,).
        correct: (N,) bool.

    Raises:
        DataError: no items, or sizes differ.

    Source: Geifman, Uziel and El-Yaniv 2019, "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers" (AURC).
    """
    _check(confidence, correct)
    return float(_risks(confidence, correct).mean())


def _risks(confidence: NDArray[np.floating[Any]], correct: NDArray[Any]) -> NDArray[np.float64]:
    """Return the risk at every coverage; each item of a tie counts as the average of the tie."""
    _, group = np.unique(-np.asarray(confidence, dtype=np.float64), return_inverse=True)
    wrong = ~np.asarray(correct, dtype=bool)
    expected = (np.bincount(group, weights=wrong) / np.bincount(group))[group]
    ordered = expected[np.argsort(group, kind="stable")]
    risks: NDArray[np.float64] = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    return risks


def _check(confidence: NDArray[Any], correct: NDArray[Any]) -> None:
    if confidence.ndim != 1 or confidence.shape != correct.shape or not len(confidence) or np.isnan(confidence).any():
        raise DataError(
            f"Confidence and correct must be (items,) without NaN, got {confidence.shape} and {correct.shape}."
        )
