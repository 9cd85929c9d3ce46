from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from diptych.core import DataError
from diptych.metrics.multilabel import LEAST, best_threshold, class_thresholds, f1


def sample(n: int = 80, k: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    targets = rng.random((n, k)) < np.array([0.5, 0.3, 0.2, 0.02])
    return np.round(targets + rng.normal(0, 0.8, (n, k)), 1), targets


def test_the_threshold_is_the_best_of_all() -> None:
    scores, targets = sample()
    for k in range(3):
        t = best_threshold(scores[:, k], targets[:, k])
        tried = [f1_score(targets[:, k], scores[:, k] >= s) for s in np.unique(scores[:, k])]
        assert f1_score(targets[:, k], scores[:, k] >= t) == pytest.approx(max(tried))


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_f1_equals_scikit_learn(average: str) -> None:
    scores, targets = sample()
    assert f1(scores > 0.5, targets, average) == pytest.approx(f1_score(targets, scores > 0.5, average=average))
    assert f1(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 0.0


def test_a_rare_class_takes_the_common_threshold() -> None:
    scores, targets = sample()
    assert targets[:, 3].sum() < LEAST
    assert class_thresholds(scores, targets)[3] == best_threshold(scores.ravel(), targets.ravel())


def test_limits_and_bad_input() -> None:
    assert best_threshold(np.ones(3), np.zeros(3, bool)) == np.inf
    assert best_threshold(np.array([0.1, 0.9]), np.array([True, True])) == 0.1
    with pytest.raises(DataError):
        best_threshold(np.ones(3), np.ones(2, bool))
    with pytest.raises(DataError):
        class_thresholds(np.ones(3), np.ones(3, bool))
    with pytest.raises(DataError):
        f1(np.ones((2, 2), bool), np.ones((2, 3), bool))
