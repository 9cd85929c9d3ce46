from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, balanced_accuracy_score, top_k_accuracy_score

from diptych.core import DataError
from diptych.metrics.classification import (
    mean_average_precision,
    top_k_hits,
    weighted_class_mean,
)


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, size=200)
    scores = rng.normal(size=(200, 9)) + 1.5 * np.eye(9)[labels]
    return scores.astype(np.float32), labels


@pytest.mark.parametrize("k", [1, 3, 5, 9])
def test_top_k_equals_scikit_learn(scored: tuple[np.ndarray, np.ndarray], k: int) -> None:
    scores, labels = scored
    with np.errstate(all="ignore"):
        expected = 1.0 if k == 9 else top_k_accuracy_score(labels, scores, k=k, labels=np.arange(9))
    assert top_k_hits(scores, labels, k).mean() == pytest.approx(expected, abs=1e-12)


def test_top_k_equals_clip_benchmark(scored: tuple[np.ndarray, np.ndarray]) -> None:
    # clip_benchmark.accuracy() calls float() on an array of size 1, which NumPy 2 refuses: its two lines, restated.
    scores, labels = map(torch.from_numpy, scored)
    correct = scores.topk(5, 1, True, True)[1].t().eq(labels.view(1, -1))
    for k in (1, 5):
        assert top_k_hits(scores.numpy(), labels.numpy(), k).mean() == pytest.approx(
            float(correct[:k].sum()) / len(labels), abs=1e-7
        )


def test_top_k_by_hand_ties_go_to_the_first_class() -> None:
    scores = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 2.0, 2.0]])
    labels = np.array([0, 1, 2])
    assert top_k_hits(scores, labels).tolist() == [True, False, False]
    assert top_k_hits(scores, labels, 2).tolist() == [True, True, True]


def test_class_means_equal_scikit_learn_and_forget_absent_classes(scored: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = scored
    labels = np.where(labels == 3, 4, labels)
    seen = np.isin(scores.argmax(1), labels)  # scikit-learn warns where a predicted class never occurs
    scores, labels = scores[seen], labels[seen]
    expected = balanced_accuracy_score(labels, scores.argmax(1))
    recalls = weighted_class_mean(top_k_hits(scores, labels), labels, np.ones((1, len(labels))))
    assert recalls == pytest.approx(expected, abs=1e-12)


def test_average_precision_equals_both_oracles() -> None:
    from clip_benchmark.metrics import zeroshot_classification as peer

    rng = np.random.default_rng(1)
    targets = rng.random((60, 5)) < 0.3
    scores = rng.normal(size=(60, 5)) + targets
    ours = mean_average_precision(scores, targets)
    assert ours == pytest.approx(average_precision_score(targets, scores, average="macro"), abs=1e-12)
    assert ours == pytest.approx(
        float(peer.average_precision_per_class(torch.from_numpy(scores), torch.from_numpy(targets)).mean()), abs=1e-6
    )


def test_a_class_without_positives_counts_zero() -> None:
    assert mean_average_precision(np.array([[0.2, 0.1], [0.9, 0.3]]), np.array([[0, 0], [1, 0]])) == 0.5


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (np.zeros((3, 2)), np.zeros(2, int), "labels"),
        (np.zeros((0, 2)), np.zeros(0, int), "at least one item"),
        (np.zeros(3), np.zeros(3, int), "items, classes"),
        (np.zeros((2, 2)), np.array([0, 2]), "0 to 1"),
        (np.zeros((2, 2)), np.array([0, -1]), "0 to 1"),
        (np.array([[np.nan, 1.0]]), np.array([0]), "NaN"),
    ],
)
def test_what_cannot_be_measured_is_refused(scores: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        top_k_hits(scores, labels)


def test_average_precision_refuses_sizes_that_differ() -> None:
    with pytest.raises(DataError, match="items, classes"):
        mean_average_precision(np.zeros((3, 2)), np.zeros((2, 3)))
    with pytest.raises(DataError, match="NaN"):
        mean_average_precision(np.full((1, 1), np.nan), np.ones((1, 1)))
