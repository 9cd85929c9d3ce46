"""The Fréchet distance against scipy's root of a matrix."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from diptych.core import DataError
from proofs.benches.edits.frechet import frechet_distance


def test_against_scipy() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)), rng.normal(size=(30, 5)) @ rng.normal(size=(5, 5)) + 1
    s, t = np.cov(x.T), np.cov(y.T)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(x, x[::-1]) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(y, x) == pytest.approx(frechet_distance(x, y))


def test_few_vectors_of_many_numbers() -> None:
    x = np.random.default_rng(0).normal(size=(3, 50))
    assert frechet_distance(x, 2 * x) == pytest.approx((x.mean(0) ** 2).sum() + np.cov(x.T).trace(), rel=1e-6)


def test_what_is_refused() -> None:
    with pytest.raises(DataError, match=r"\(1, 2\)"):
        frechet_distance(np.zeros((1, 2)), np.zeros((3, 2)))
    with pytest.raises(DataError):
        frechet_distance(np.zeros((3, 2)), np.zeros((3, 4)))
