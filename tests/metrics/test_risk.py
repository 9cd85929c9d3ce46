"""Conformal risk control: its rule, its bound in a simulation, and the loss of pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diptych.core import DataError, UsageError
from diptych.metrics.risk import risk_threshold, wrong_pixels

GRID = np.linspace(0, 1, 101)


def losses(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw items whose loss falls from a start to 0, each at its own threshold."""
    start, end = rng.beta(2, 5, n), rng.beta(5, 2, n)
    return start[:, None] * np.clip(1 - GRID / end[:, None], 0, 1)


def test_the_least_threshold_is_found_as_by_hand() -> None:
    some = losses(np.random.default_rng(0), 20)
    by_hand = next(t for j, t in enumerate(GRID) if ((some[:, j:].sum(0) + 1) / 21 <= 0.15).all())
    assert risk_threshold(some, GRID, 0.15) == by_hand
    before = int(np.searchsorted(GRID, by_hand)) - 1
    assert (some[:, before].sum() + 1) / 21 > 0.15


@pytest.mark.parametrize(("n", "risk"), [(10, 0.1), (30, 0.1), (30, 0.2)])
def test_the_expected_loss_of_a_new_item_is_at_most_the_risk(n: int, risk: float) -> None:
    """Over 2,000 draws the mean is below the risk by at most the slack of 2 / (n + 1), up to its standard error."""
    rng = np.random.default_rng(1)
    seen = []
    for _ in range(2000):
        drawn = losses(rng, n + 1)
        threshold = risk_threshold(drawn[:n], GRID, risk)
        seen.append(0.0 if math.isinf(threshold) else drawn[n, int(np.searchsorted(GRID, threshold))])
    mean, error = np.mean(seen), np.std(seen) / math.sqrt(len(seen))
    assert mean <= risk + 3 * error
    assert mean >= risk - 2 / (n + 1) - 3 * error - 0.01  # the grid


def test_without_the_one_for_the_new_item_the_bound_would_break() -> None:
    """The cheap rule, mean loss at most the risk, is above it: the correction is needed."""
    rng = np.random.default_rng(2)
    seen = []
    for _ in range(4000):
        drawn = losses(rng, 6)
        at = next(j for j in range(len(GRID)) if drawn[:5, j].mean() <= 0.2)
        seen.append(drawn[5, at])
    assert np.mean(seen) > 0.2 + 2 * np.std(seen) / math.sqrt(len(seen))


def test_limits() -> None:
    one = np.zeros((9, 2))
    assert risk_threshold(one, np.array([0.0, 1.0]), 0.1) == 0.0
    assert risk_threshold(np.ones((9, 2)), np.array([0.0, 1.0]), 0.1) == math.inf
    with pytest.raises(UsageError, match=r"8 calibration photos cannot promise a risk of 0\.1: give 9"):
        risk_threshold(np.zeros((8, 2)), np.array([0.0, 1.0]), 0.1)
    with pytest.raises(UsageError, match=r"risk must be in \(0, 1\), got 1"):
        risk_threshold(one, np.array([0.0, 1.0]), 1)
    with pytest.raises(DataError, match="must not rise"):
        risk_threshold(np.array([[0.1, 0.2]] * 9), np.array([0.0, 1.0]), 0.2)
    with pytest.raises(DataError, match="at least one item"):
        risk_threshold(np.zeros((0, 2)), np.array([0.0, 1.0]), 0.2)


def test_pixels_that_are_named_wrongly_are_counted_as_by_hand() -> None:
    rng = np.random.default_rng(3)
    labels, truth = rng.integers(0, 3, (8, 9)), rng.integers(0, 3, (8, 9))
    truth[:2] = 255
    scores = rng.random((8, 9)).astype(np.float32)
    thresholds = np.sort(np.append(scores[3, :4], np.float32(0)))
    counted = truth != 255
    by_hand = [(counted & (labels != truth) & (scores >= t)).sum() / counted.sum() for t in thresholds]
    assert wrong_pixels(labels, scores, truth, thresholds) == pytest.approx(by_hand)
    assert not wrong_pixels(labels, scores, np.full((8, 9), 255), thresholds).any()
