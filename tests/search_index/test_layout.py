"""Vectors that are alike lie near each other in the plane."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from diptych.search_index.layout import FEW, laid_out


def neighbours_alike(places: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
    near = NearestNeighbors(n_neighbors=4).fit(places).kneighbors(places)[1][:, 1:]
    return float((groups[near] == groups[:, None]).mean())


def test_groups_stay_together_and_shuffled_ones_do_not() -> None:
    draws = np.random.default_rng(0)
    groups = draws.integers(0, 8, 160)
    vectors = draws.normal(size=(8, 24))[groups] + 0.4 * draws.normal(size=(160, 24))
    places = laid_out(vectors.astype(np.float32))
    assert neighbours_alike(places, groups) > 0.95
    assert neighbours_alike(places, draws.permutation(groups)) < 0.3
    two = vectors[:, :2] - vectors[:, :2].min(0)  # the cheapest plane: two of the numbers as they are
    assert neighbours_alike(two, groups) < 0.8
    assert np.array_equal(places, laid_out(vectors.astype(np.float32)))


@pytest.mark.parametrize("count", [0, 1, 2, FEW, FEW + 1, 40])
def test_any_number_has_places_in_the_square(count: int) -> None:
    vectors = np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32)
    places = laid_out(vectors)
    assert places.shape == (count, 2)
    if count > 1:
        assert (places.min(), places.max()) == (0.0, 1.0)


def test_equal_vectors_have_one_place() -> None:
    assert np.array_equal(laid_out(np.ones((30, 4), np.float32)), np.full((30, 2), 0.5))
    assert np.isfinite(laid_out(np.eye(30, 4, dtype=np.float32))).all()  # 26 of them are zero
