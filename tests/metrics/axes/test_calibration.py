from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from diptych.core import Run, Scores
from diptych.metrics.axes.calibration import calibrated, drawn, log_likelihood, outlier_scores, told_apart
from diptych.metrics.axes.common import half_of
from proofs.benches.audits.holistic import cross_fitted, permuted


def sharpened(scale: float, seed: int = 0, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are ``scale`` times those that the labels were drawn from."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 1.5, size=(n, 5))
    p = np.exp(honest) / np.exp(honest).sum(1, keepdims=True)
    return scale * honest, np.array([rng.choice(5, p=row) for row in p])


def test_error_against_torchmetrics_and_likelihood_against_torch() -> None:
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits, labels = sharpened(4.0)
    error, gain = calibrated("a", "own", logits, labels, 4.0, 1.0, Run())
    p = torch.from_numpy(logits).softmax(1)
    oracle = multiclass_calibration_error(p, torch.from_numpy(labels), 5, n_bins=15, norm="l1")
    assert error.value == pytest.approx(float(oracle), abs=1e-6)
    for t, v in ((1.0, log_likelihood(logits, labels)), (4.0, log_likelihood(logits, labels, 4.0))):
        nll = torch.nn.functional.cross_entropy(torch.from_numpy(logits / t), torch.from_numpy(labels))
        assert -v.mean() == pytest.approx(float(nll))
    assert gain.interval is not None
    assert gain.interval[0] > 0
    assert gain.control is not None
    assert gain.control.value == 0.0, "the temperature 1 changes nothing"


@pytest.mark.parametrize(("scale", "true"), [(1.0, 0.0), (2.0, None)])
def test_the_interval_of_the_error_holds_it_and_honest_models_do_no_harm(scale: float, true: float | None) -> None:
    """An interval of resamples never held an error of 0, and half of the honest models were said to do harm."""
    from torchmetrics.functional.classification import multiclass_calibration_error

    if true is None:
        logits, labels = sharpened(scale, 999, 20_000)
        true = float(multiclass_calibration_error(torch.from_numpy(logits).softmax(1), torch.from_numpy(labels), 5, 15))
    inside, harmful = 0, 0
    for seed in range(120):
        found, _ = calibrated("a", "own", *sharpened(scale, seed, 70), 1.0, 1.0, Run())
        assert found.interval is not None
        inside += found.interval[0] <= true <= found.interval[1]
        harmful += found.harm > 0
    assert inside / 120 >= 0.93
    assert harmful / 120 < 0.06 if true == 0 else harmful / 120 > 0.5


def test_the_right_temperature_gains_more_than_one_of_permuted_labels() -> None:
    logits, labels = sharpened(4.0)
    first = half_of(len(labels), Run(), "x")
    right, soft = (cross_fitted(logits, labels, first, t).mean() for t in (labels, permuted(labels, first, Run())))
    assert right > soft + 0.1
    assert soft > 0.1, "of a model that is much too sure any softening gains"
    honest, true = sharpened(1.0)
    assert abs(cross_fitted(honest, true, first, true).mean()) < 0.01
    assert cross_fitted(honest, true, first, permuted(true, first, Run())).mean() < -0.1


def test_nothing_is_to_gain_on_labels_of_the_own_probabilities() -> None:
    rng = np.random.default_rng(0)
    logits = np.log(np.tile([[0.5, 0.3, 0.2]], (20_000, 1)))
    shares = np.bincount(drawn(logits, rng)) / 20_000
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2], atol=0.01)
    gains = []
    for seed in range(20):
        sure, _ = sharpened(4.0, seed)
        lucky, first = drawn(sure, np.random.default_rng(seed)), half_of(400, Run(seed=seed), "x")
        gains.append(cross_fitted(sure, lucky, first, lucky).mean())
    assert -0.02 < np.mean(gains) <= 0.001


def test_permuted_labels_keep_the_counts_of_each_half() -> None:
    _, labels = sharpened(1.0)
    first = half_of(len(labels), Run(), "x")
    taught = permuted(labels, first, Run())
    for half in (first, ~first):
        assert sorted(taught[half]) == sorted(labels[half])
    assert (taught != labels).any()


def test_who_is_not_sure_enough_does_no_harm() -> None:
    shy = next(calibrated("a", "own", *sharpened(0.2), 1.0, 1.0, Run()))
    assert shy.harm == 0.0
    assert "not sure enough" in shy.says
    assert next(calibrated("a", "own", *sharpened(6.0), 1.0, 1.0, Run())).harm > 0.1


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
    result = outlier_scores(Scores(cosines, "cosine", candidates))
    first, second = np.exp([0.3, 0.2]), np.exp([0.1, 0.4, 0.2])
    assert result["mcm"] == pytest.approx([first[0] / first.sum(), second[1] / second.sum()])
    assert result["energy"] == pytest.approx([np.log(first.sum()), np.log(second.sum())])


def test_probabilities_have_no_energy() -> None:
    probabilities = torch.tensor([[0.3, 0.7], [0.9, 0.1]])
    result = outlier_scores(Scores(probabilities.log(), "log_prob"))
    assert list(result) == ["mcm"]
    assert result["mcm"] == pytest.approx([0.7, 0.9])
