from __future__ import annotations

import numpy as np
import pytest

from diptych.core import DataError
from diptych.metrics.spread import effective_rank, modality_gap, relative_alignment, spread, uniformity


def unit(n: int, d: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_spread_is_the_mean_of_one_minus_cosine() -> None:
    x = unit(9, 5)
    assert spread(x) == pytest.approx(np.mean([1 - a @ b for a in x for b in x]))
    assert spread(np.tile(x[:1], (4, 1))) == pytest.approx(0)


def test_gap_by_hand() -> None:
    x = np.eye(2)
    assert modality_gap(x, -x) == pytest.approx(np.sqrt(2))
    assert modality_gap(x, x) == 0


def test_uniformity_by_hand() -> None:
    z = unit(6, 4)
    pairs = [np.exp(-2 * ((a - b) ** 2).sum()) for i, a in enumerate(z) for j, b in enumerate(z) if i != j]
    assert uniformity(z[:3], z[3:]) == pytest.approx(-np.log(np.mean(pairs)))


def test_alignment_against_the_hardest_negative() -> None:
    x, y = unit(5, 4), unit(5, 4, 1)
    expected = [
        min(((x[i] - y[k]) ** 2).sum() for k in range(5) if k != i) - ((x[i] - y[i]) ** 2).sum() for i in range(5)
    ]
    assert relative_alignment(x, y) == pytest.approx(expected)
    with pytest.raises(DataError, match="at least two pairs"):
        relative_alignment(unit(1, 3), unit(1, 3))


def test_rank_of_a_cross_and_of_a_point() -> None:
    assert effective_rank(np.concatenate([np.eye(3), -np.eye(3)])) == pytest.approx(3)
    assert effective_rank(np.ones((4, 3))) == 0


def test_nothing_to_measure() -> None:
    with pytest.raises(DataError):
        spread(np.empty((0, 3)))
