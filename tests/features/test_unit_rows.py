"""Vectors of length 1."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import DTypeLike

from diptych.features.unit_rows import unit_rows


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_have_length_one_keep_their_direction_and_their_type(dtype: DTypeLike) -> None:
    x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(dtype)
    unit = unit_rows(x)
    assert unit.dtype == dtype
    np.testing.assert_allclose((unit**2).sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose((unit * x).sum(-1), np.sqrt((x**2).sum(-1)), rtol=1e-6)


def test_a_vector_of_zeros_stays() -> None:
    assert not unit_rows(np.zeros((2, 3), dtype=np.float32)).any()
