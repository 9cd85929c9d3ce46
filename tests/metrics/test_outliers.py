from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve
from sklearn.neighbors import NearestNeighbors

from diptych.core import DataError, UsageError
from diptych.metrics.outliers import (
    energy,
    false_positive_rate,
    maximum_concept_matching,
    maximum_probability,
    nearest,
)

RNG = np.random.default_rng(0)


def test_scores_against_torch_and_scikit_learn() -> None:
    cosines = RNG.uniform(-1, 1, size=(7, 5))
    t = torch.from_numpy(cosines)
    np.testing.assert_allclose(maximum_concept_matching(cosines, 0.5), (t / 0.5).softmax(1).max(1).values)
    np.testing.assert_allclose(maximum_probability(50 * cosines), (50 * t).softmax(1).max(1).values)
    np.testing.assert_allclose(energy(cosines, 2.0), 2 * (t / 2).logsumexp(1))
    bank, items = (
        v / np.linalg.norm(v, axis=1, keepdims=True) for v in (RNG.normal(size=(20, 4)), RNG.normal(size=(6, 4)))
    )
    distance = NearestNeighbors(n_neighbors=3, metric="cosine").fit(bank).kneighbors(items)[0][:, 2]
    np.testing.assert_allclose(nearest(items, bank, 3), 1 - distance)


def test_mcm_refuses_scaled_cosines() -> None:
    with pytest.raises(DataError, match=r"got nan: .* none that is NaN"):
        maximum_concept_matching(np.array([[0.1, np.nan], [0.2, 0.3]]))
    with pytest.raises(DataError, match=r"MCM takes cosines, in .*got 30"):
        maximum_concept_matching(np.array([[0.3, 0.2]]) * 100)


def test_the_rate_at_the_nearest_recall_against_a_roc_curve() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        inside, outside = rng.normal(1, 1, size=37).round(1), rng.normal(0, 1, size=23).round(1)
        x, y, _ = roc_curve(np.r_[np.ones(37), np.zeros(23)], np.r_[inside, outside], drop_intermediate=False)
        gaps = np.abs(y[1:] - 0.9).round(12)
        best = max(np.flatnonzero(gaps == gaps.min()), key=lambda i: (y[1:][i], -x[1:][i]))
        rate, recall, threshold = false_positive_rate(inside, outside, 0.9)
        assert recall == pytest.approx(y[1:][best])
        assert rate == pytest.approx(x[1:][best])
        assert (inside >= threshold).mean() == pytest.approx(recall)


def test_limits_and_bad_input() -> None:
    assert false_positive_rate(np.ones(3), np.zeros(4))[:2] == (0.0, 1.0)
    assert false_positive_rate(np.zeros(3), np.ones(4))[0] == 1.0
    with pytest.raises(DataError, match="0 inside"):
        false_positive_rate(np.ones(0), np.ones(1))
    with pytest.raises(UsageError, match="recall must be"):
        false_positive_rate(np.ones(1), np.ones(1), 0.0)
    with pytest.raises(UsageError, match=r"k must be in \[1, 2\].*got 3"):
        nearest(np.ones((1, 2)), np.ones((2, 2)), 3)
    with pytest.raises(UsageError, match="temperature must be above 0, got 0"):
        energy(np.ones((1, 2)), 0.0)
