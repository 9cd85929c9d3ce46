from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import confusion_matrix, roc_curve

from diptych.core import DataError
from diptych.metrics.presentation import equal_error_rate, error_rates


@pytest.mark.parametrize("seed", range(6))
def test_the_equal_error_rate_is_where_scikit_learns_curve_crosses(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.random(60) < 0.4
    scores = rng.normal(size=60) + (seed - 1) * 0.6 * labels
    if seed % 2:
        scores = np.round(scores, 1)  # ties
    x, y, _ = roc_curve(labels, scores, drop_intermediate=False)
    expected = brentq(lambda rate: 1 - rate - float(interp1d(x, y)(rate)), 0.0, 1.0)
    assert equal_error_rate(scores, labels) == pytest.approx(expected, abs=1e-9)


def test_ends_and_chance() -> None:
    labels = np.array([0, 0, 1, 1])
    assert equal_error_rate(np.array([0.0, 1.0, 2.0, 3.0]), labels) == 0
    assert equal_error_rate(np.array([3.0, 2.0, 1.0, 0.0]), labels) == 1
    assert equal_error_rate(np.zeros(4), labels) == 0.5


def test_rates_at_a_threshold_are_those_of_the_confusion_matrix_and_the_worst_kind() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [40, 60])
    kinds = ["none"] * 40 + ["print"] * 20 + ["screen"] * 40
    scores = rng.normal(size=100) + labels * np.repeat([0.0, 2.0, 0.5], [40, 20, 40])
    rates = error_rates(scores, labels, 0.7, kinds)
    (tn, fp), (fn, tp) = confusion_matrix(labels, scores > 0.7)
    assert rates["hter"] == pytest.approx((fp / (fp + tn) + fn / (fn + tp)) / 2)
    missed = {kind: np.mean(scores[np.array(kinds) == kind] <= 0.7) for kind in ("print", "screen")}
    assert missed["screen"] > missed["print"]
    assert rates["acer"] == pytest.approx((fp / 40 + missed["screen"]) / 2)
    plain = error_rates(scores, labels, 0.7)
    assert plain["acer"] == plain["hter"] == rates["hter"]
    with pytest.raises(DataError, match="99 kinds"):
        error_rates(scores, labels, 0.7, kinds[1:])
    with pytest.raises(DataError):
        equal_error_rate(scores[:40], labels[:40])
