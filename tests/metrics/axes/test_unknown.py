from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from diptych.core import Run, Scores
from diptych.metrics.axes.unknown import outlier_scores, told_apart


def test_areas_against_scikit_learn_with_own_items_as_the_positive_class() -> None:
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(1, 1, size=80), rng.normal(0, 1, size=50)
    found = told_apart("a", "other", "mcm", inside, outside, 0.95, Run())
    own, scores = np.r_[np.ones(80), np.zeros(50)], np.r_[inside, outside]
    assert found.value == pytest.approx(roc_auc_score(own, scores))
    assert found.details["aupr"] == pytest.approx(average_precision_score(own, scores))
    assert found.control is not None
    assert found.control.held
    assert found.harm <= found.details["false_positive_rate"]
    assert told_apart("a", "other", "energy", inside, outside, 0.95, Run(), say=False).harm == 0.0


def test_fewer_items_pass_where_they_are_further_away_and_never_own_ones() -> None:
    """The rate counts other items at or above the threshold, and exchanged sides would count the own ones below it."""
    rng = np.random.default_rng(1)
    inside = rng.normal(2, 1, size=200)
    rates = []
    for distance in (0.5, 2.0, 4.0):
        outside = rng.normal(2 - distance, 0.5, size=150)
        found = told_apart("a", "other", "mcm", inside, outside, 0.95, Run())
        own = np.sort(inside)[10]  # 190 of 200 own items are at or above it
        assert found.details["false_positive_rate"] == (outside >= own).mean()
        assert found.details["recall"] == 0.95
        assert f"{100 * (outside >= own).mean():.0f} % of the pictures in other" in found.says
        rates.append(found.details["false_positive_rate"])
    assert rates[0] > 0.5 > rates[1] > rates[2]


def test_cosines_are_not_scaled_and_logits_are_taken_as_they_are() -> None:
    cosines = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
    mcm = outlier_scores(Scores(cosines, "cosine"))["mcm"]
    np.testing.assert_allclose(mcm, cosines.double().softmax(1).max(1).values, rtol=1e-6)
    logits = 30 * cosines
    np.testing.assert_allclose(
        outlier_scores(Scores(logits, "logit"))["mcm"], logits.double().softmax(1).max(1).values, rtol=1e-6
    )


def test_classes_that_are_no_candidates_have_no_probability() -> None:
    cosines = torch.tensor([[0.3, 0.2, 0.9], [0.1, 0.4, 0.2]])
    candidates = torch.tensor([[True, True, False], [True, True, True]])
    found = outlier_scores(Scores(cosines, "cosine", candidates))
    first, second = np.exp([0.3, 0.2]), np.exp([0.1, 0.4, 0.2])
    assert found["mcm"] == pytest.approx([first[0] / first.sum(), second[1] / second.sum()])
    assert found["energy"] == pytest.approx([np.log(first.sum()), np.log(second.sum())])


def test_probabilities_have_no_energy() -> None:
    probabilities = torch.tensor([[0.3, 0.7], [0.9, 0.1]])
    found = outlier_scores(Scores(probabilities.log(), "log_prob"))
    assert list(found) == ["mcm"]
    assert found["mcm"] == pytest.approx([0.7, 0.9])
