"""Metrics of outcomes against the metrics floor, torchmetrics and plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, recall_score, top_k_accuracy_score

from diptych.core import Scores
from diptych.evaluation.outcome import Outcome, hits, intervals, mean_metrics
from diptych.features.heads import logits_of
from diptych.metrics.calibration import expected_calibration_error
from diptych.metrics.closed_intervals import wilson
from tests.support.colours import ColourBackbone


def outcome(n: int = 60, k: int = 7, seed: int = 0, kind: str = "logit") -> tuple[Outcome, torch.Tensor, np.ndarray]:
    g = torch.Generator().manual_seed(seed)
    values = 2 * torch.randn(n, k, generator=g)
    labels = torch.randint(0, k - 1, (n,), generator=g).numpy()  # the last class never occurs
    values[torch.arange(n), torch.from_numpy(labels)] += 1.0
    return Outcome.of(Scores(values, kind), ColourBackbone(), labels), values, labels  # type: ignore[arg-type]


def test_metrics_are_those_of_scikit_learn_and_of_torchmetrics() -> None:
    from torchmetrics.functional.classification import multiclass_calibration_error

    found, values, labels = outcome()
    p = values.double().softmax(dim=1).numpy()
    got = found.metrics()
    recall = recall_score(labels, p.argmax(1), labels=range(6), average="macro")
    assert got["acc1"] == pytest.approx(top_k_accuracy_score(labels, p, k=1, labels=range(7)), abs=1e-12)
    assert got["acc5"] == pytest.approx(top_k_accuracy_score(labels, p, k=5, labels=range(7)), abs=1e-12)
    assert got["mean_per_class_recall"] == pytest.approx(recall, abs=1e-12)
    assert got["nll"] == pytest.approx(log_loss(labels, p, labels=range(7)), abs=1e-9)
    assert got["ece"] == pytest.approx(expected_calibration_error(p, labels, 15), abs=1e-9)
    oracle = multiclass_calibration_error(values.softmax(dim=1), torch.from_numpy(labels), num_classes=7, n_bins=15)
    assert got["ece"] == pytest.approx(float(oracle), abs=1e-5)


def test_weighted_metrics_are_the_metrics_of_repeated_items() -> None:
    found, values, labels = outcome(n=20)
    counts = np.random.default_rng(3).multinomial(20, np.full(20, 1 / 20), size=4).astype(float)
    weighted = found.weighted(counts)
    for b, row in enumerate(counts.astype(int)):
        rows = np.repeat(np.arange(20), row)
        again = Outcome.of(Scores(values[rows], "logit"), ColourBackbone(), labels[rows]).metrics()
        for name, value in again.items():
            assert weighted[name][b] == pytest.approx(value, abs=1e-9), name


def test_ties_go_to_the_first_class_and_few_classes_have_no_top_5() -> None:
    found = Outcome.of(
        Scores(torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]), "logit"), ColourBackbone(), np.array([0, 1])
    )
    assert found.rank.tolist() == [0, 1]
    assert found.correct.tolist() == [True, False]
    assert np.isnan(found.metrics()["acc5"])


def test_a_true_class_outside_the_candidates_is_wrong_and_its_likelihood_finite() -> None:
    scores = Scores(torch.tensor([[3.0, 1.0, 0.0]]), "logit", torch.tensor([[False, True, True]]))
    found = Outcome.of(scores, ColourBackbone(), np.array([0]))
    assert found.predicted.tolist() == [1]
    assert found.rank.tolist() == [2]
    assert np.isfinite(found.metrics()["nll"])
    assert found.confidence[0] == pytest.approx(1 / (1 + np.exp(-1.0)))


def test_cosines_are_scaled_by_the_backbone() -> None:
    scaled = logits_of(Scores(torch.tensor([[0.5, -0.5]]), "cosine"), ColourBackbone("sigmoid"))
    assert scaled.tolist() == [[0.0, -10.0]]


def test_intervals_hold_the_value_narrow_with_items_and_repeat() -> None:
    few, many = [outcome(n=n, seed=1)[0] for n in (40, 4000)]
    narrow, wide = intervals([many]), intervals([few])
    for name, (low, high) in narrow.items():
        assert low < high
        assert low < many.metrics()[name] < high
        assert high - low < wide[name][1] - wide[name][0]
    assert intervals([few]) == intervals([few])
    assert list(narrow) == ["acc1", "acc5", "mean_per_class_recall", "nll"]


def test_interval_of_accuracy_is_the_normal_one_for_one_seed() -> None:
    found = outcome(n=2000)[0]
    low, high = intervals([found])["acc1"]
    p = found.metrics()["acc1"]
    assert (low, high) == pytest.approx(wilson(2000 * p, 2000))
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(p * (1 - p) / 2000), rel=0.01)


def test_interval_of_class_recall_adds_the_variances_of_the_classes() -> None:
    found = outcome(n=3000)[0]
    low, high = intervals([found])["mean_per_class_recall"]
    sizes = np.bincount(found.labels, minlength=6)
    recalls = np.array([found.correct[found.labels == k].mean() for k in range(6)])
    error = np.sqrt((recalls * (1 - recalls) / (sizes - 1)).sum()) / 6
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.01)


def test_interval_of_the_nll_reaches_farther_up_where_a_few_items_are_far_off() -> None:
    found = outcome(n=40, seed=2)[0]
    skewed = replace(found, log_likelihood=np.where(np.arange(40) < 3, -6.0, -0.1 - np.arange(40) / 100))
    low, high = intervals([skewed])["nll"]
    value = skewed.metrics()["nll"]
    assert high - value > 1.3 * (value - low) > 0


def test_seeds_that_disagree_widen_the_interval() -> None:
    labels = np.zeros(500, dtype=np.int64)
    right = Outcome(labels, labels, labels, np.full(500, 0.9), np.full(500, -0.1), 2)
    wrong = Outcome(labels, labels + 1, labels + 1, np.full(500, 0.9), np.full(500, -2.0), 2)
    assert intervals([right, right])["acc1"] == pytest.approx(wilson(500, 500))
    low, high = intervals([right, wrong])["acc1"]
    assert low < 0.01
    assert high > 0.99
    assert mean_metrics([right, wrong])["acc1"] == 0.5
    assert hits([right, wrong]).mean(axis=1).tolist() == [1.0, 0.0]


def test_reliability_bins_give_the_ece() -> None:
    found = outcome()[0]
    bins = found.reliability()
    assert sum(n for _, _, n in bins) == 60
    assert sum(n * abs(c - a) for c, a, n in bins) / 60 == pytest.approx(found.metrics()["ece"], abs=1e-12)
