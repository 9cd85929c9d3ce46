from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from diptych.core import DataError, UsageError
from diptych.metrics.selective import precision_threshold, risk_at


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
    with pytest.raises(UsageError, match="Precision must be"):
        precision_threshold(scores, right, 1.0)
