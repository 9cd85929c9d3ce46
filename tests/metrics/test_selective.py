from __future__ import annotations

import numpy as np
import pytest

from diptych.core.errors import DataError, UsageError
from diptych.metrics.selective import area_under_risk_coverage, risk_at


def test_equals_a_loop() -> None:
    rng = np.random.default_rng(0)
    confidence, correct = rng.random(50), rng.random(50) < 0.7
    order = np.argsort(-confidence)
    risks = [1 - correct[order[:n]].mean() for n in range(1, 51)]
    assert area_under_risk_coverage(confidence, correct) == pytest.approx(np.mean(risks))
    assert risk_at(confidence, correct, 0.8) == pytest.approx(risks[39])
    assert risk_at(confidence, correct, 1) == pytest.approx(1 - correct.mean())


def test_limits() -> None:
    correct = np.array([True, True, False, False])
    assert area_under_risk_coverage(np.ones(4), correct) == pytest.approx(0.5), "no order: the risk of all, everywhere"
    assert risk_at(np.array([4.0, 3, 2, 1]), correct, 0.5) == 0
    assert risk_at(np.array([1.0, 2, 3, 4]), correct, 0.5) == 1
    assert risk_at(np.array([4.0, 3, 2, 1]), correct, 0.51) == pytest.approx(1 / 3)


def test_ties_do_not_depend_on_the_order_of_items() -> None:
    confidence, correct = np.array([1.0, 1, 1, 0]), np.array([True, False, True, False])
    assert area_under_risk_coverage(confidence, correct) == area_under_risk_coverage(confidence[::-1], correct[::-1])


def test_bad_input() -> None:
    with pytest.raises(DataError):
        risk_at(np.ones(3), np.ones(2, bool), 0.5)
    with pytest.raises(DataError):
        area_under_risk_coverage(np.ones(0), np.ones(0, bool))
    with pytest.raises(UsageError, match="must be in"):
        risk_at(np.ones(3), np.ones(3, bool), 0)
