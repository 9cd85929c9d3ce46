"""What accuracy drops between two groups of each class: the groups are chosen on some items and measured on others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from diptych.metrics.estimate import Interval
from diptych.metrics.group_drop import (
    accuracies,
    class_accuracies,
    halves,
    over_classes,
    relabelled,
    select,
)

K, A, N = 4, 3, 480


def noisy(seed: int, share: Any = 0.6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hits, labels, groups; ``share`` (K, A) or a number says how often a cell is right."""
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(K, size=N), rng.integers(A, size=N)
    hits = rng.random(N) < np.broadcast_to(share, (K, A))[labels, groups]
    return hits, labels, groups


def test_accuracies_and_drop_against_loops() -> None:
    hits, labels, groups = noisy(0)
    found = accuracies(hits, labels, groups, (K, A))
    for y in range(K):
        for a in range(A):
            assert found[y, a] == pytest.approx(hits[(labels == y) & (groups == a)].mean())
    every = np.ones(N, dtype=bool)
    pairs = select(hits, labels, groups, (K, A), every, every, 0.05, 1)
    assert [(p.common, p.counter) for p in pairs] == [
        (int(found[p.label].argmax()), int(found[p.label].argmin())) for p in pairs
    ]
    common, counter = np.mean(list(class_accuracies(hits, pairs).values()), axis=0)
    for value, side in ((common, "common_items"), (counter, "counter_items")):
        items = np.concatenate([getattr(p, side) for p in pairs])
        predicted = np.where(hits[items], labels[items], labels[items] + K)  # a wrong answer is none of the classes
        with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
            assert value == pytest.approx(balanced_accuracy_score(labels[items], predicted))


def test_halves_and_relabelling_keep_classes_and_groups() -> None:
    _, labels, groups = noisy(2)
    first = halves(labels, groups, np.random.default_rng(0))
    for y in range(K):
        for a in range(A):
            own = first[(labels == y) & (groups == a)]
            assert abs(2 * own.sum() - len(own)) <= 1
        moved = relabelled(labels, groups, np.random.default_rng(0))
        assert sorted(moved[labels == y]) == sorted(groups[labels == y])
        assert (moved[labels == y] != groups[labels == y]).any()


def test_of_one_class_nothing_is_known_and_ends_are_possible_values() -> None:
    assert over_classes([0.4]) == Interval(0.4, -1.0, 1.0)
    assert over_classes([]) == Interval(0.0, -1.0, 1.0)
    assert over_classes([0.9, 0.2], least=0.0) == Interval(pytest.approx(0.55), 0.0, 1.0)
