from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import beta

from diptych.core import DataError, UsageError
from diptych.metrics.selective import precision_threshold, risk_at, risk_threshold, wrong_pixels


def test_equals_a_loop() -> None:
    rng = np.random.default_rng(0)
    confidence, correct = rng.random(50), rng.random(50) < 0.7
    order = np.argsort(-confidence)
    risks = [1 - correct[order[:n]].mean() for n in range(1, 51)]
    assert risk_at(confidence, correct, 0.8) == pytest.approx(risks[39])
    assert risk_at(confidence, correct, 1) == pytest.approx(1 - correct.mean())


def test_limits() -> None:
    correct = np.array([True, True, False, False])
    assert risk_at(np.ones(4), correct, 0.25) == pytest.approx(0.5), "no order: the risk of all, everywhere"
    assert risk_at(np.array([4.0, 3, 2, 1]), correct, 0.5) == 0
    assert risk_at(np.array([1.0, 2, 3, 4]), correct, 0.5) == 1
    assert risk_at(np.array([4.0, 3, 2, 1]), correct, 0.51) == pytest.approx(1 / 3)


def test_ties_do_not_depend_on_the_order_of_items() -> None:
    confidence, correct = np.array([1.0, 1, 1, 0]), np.array([True, False, True, False])
    for coverage in (0.25, 0.5, 0.75, 1):
        assert risk_at(confidence, correct, coverage) == risk_at(confidence[::-1], correct[::-1], coverage)


def test_bad_input() -> None:
    with pytest.raises(DataError):
        risk_at(np.ones(3), np.ones(2, bool), 0.5)
    with pytest.raises(DataError):
        risk_at(np.ones(0), np.ones(0, bool), 1)
    with pytest.raises(UsageError, match="must be in"):
        risk_at(np.ones(3), np.ones(3, bool), 0)


def test_a_promised_precision_is_kept_in_95_percent_of_samples() -> None:
    rng, kept, promised = np.random.default_rng(0), 0, 0
    for _ in range(300):
        scores = rng.random(300)
        right = rng.random(300) < scores  # the share right from t on is (1 + t) / 2
        try:
            cut = precision_threshold(scores, right, 0.8)
        except DataError:
            continue
        promised += 1
        kept += (1 + cut) / 2 >= 0.8
    assert promised > 100
    assert kept / promised >= 0.93


def test_the_threshold_is_the_last_before_the_first_failed_test() -> None:
    scores = np.arange(100, 0, -1.0)
    right = np.arange(100) < 60
    cut = precision_threshold(scores, right, 0.9)
    counts = [k for k in range(29, 101) if beta.ppf(0.05, min(k, 60), max(k - 60, 0) + 1) < 0.9]
    assert cut == scores[counts[0] - 2]
    assert precision_threshold(scores, np.ones(100, bool), 0.9) == 1
    assert precision_threshold(np.ones(100), np.ones(100, bool), 0.9) == 1, "a tie is one threshold"
    with pytest.raises(DataError, match=r"promises a precision of 0\.9 on 100"):
        precision_threshold(scores, ~right, 0.9)
    with pytest.raises(DataError, match="promises"):
        precision_threshold(scores[:20], right[:20], 0.9)
    for out_of_range in (0.0, 1.0):
        with pytest.raises(UsageError, match="Precision must be"):
            precision_threshold(scores, right, out_of_range)


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


def test_limits_of_a_threshold_by_risk() -> None:
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
