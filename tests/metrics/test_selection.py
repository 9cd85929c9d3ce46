"""What the best of many is worth: nothing where all are alike, and its gain where it is better."""

from __future__ import annotations

import numpy as np
import pytest

from diptych.core import DataError, UsageError
from diptych.metrics.selection import gain_of_the_best


def test_the_best_of_equally_good_systems_gains_nothing() -> None:
    """100 draws: the highest of twenty seems 4.6 points better than the first, and the corrected gain is 0."""
    naive, corrected, holds = [], [], 0
    for draw in range(100):
        right = np.random.default_rng(draw).random((20, 150)) < 0.6
        gain = gain_of_the_best(right, seed=draw, draws=400)
        naive.append(right.mean(1).max() - right.mean(1)[0])
        corrected.append(gain.value)
        holds += gain.low <= 0 <= gain.high
    error = np.std(corrected) / 10
    assert np.mean(naive) > 0.05
    assert abs(np.mean(corrected)) < 3 * error
    assert holds >= 93


def test_a_system_that_is_better_keeps_its_gain() -> None:
    rng = np.random.default_rng(0)
    right = np.stack([rng.random(400) < 0.5, rng.random(400) < 0.9, rng.random(400) < 0.3])
    gain = gain_of_the_best(right, seed=0)
    assert gain.low > 0.25
    assert gain.value == pytest.approx(right[1].mean() - right[0].mean(), abs=0.01)


def test_of_equal_systems_the_first_is_chosen() -> None:
    right = np.tile(np.arange(40) % 3 > 0, (3, 1))
    assert gain_of_the_best(right, seed=0) == gain_of_the_best(right[:1], seed=0)
    assert gain_of_the_best(right, seed=0).value == 0


def test_bad_input_is_named() -> None:
    with pytest.raises(DataError, match="2 held-out items or more"):
        gain_of_the_best(np.ones((3, 1), dtype=bool), seed=0)
    with pytest.raises(UsageError, match="base must be a row from 0 to 2, got 3"):
        gain_of_the_best(np.ones((3, 9), dtype=bool), 3, seed=0)
    with pytest.raises(UsageError, match="level"):
        gain_of_the_best(np.ones((3, 9), dtype=bool), seed=0, level=1.0)
