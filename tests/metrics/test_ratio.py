from __future__ import annotations

import numpy as np
import pytest

from diptych.metrics.interval import bootstrap_mean, one_sided_lower
from diptych.metrics.ratio import counted, ratio, ratio_gain, ratio_lower


def test_a_ratio_is_over_units_and_seeds() -> None:
    rng = np.random.default_rng(0)
    right = rng.random((3, 100)) < 0.7
    whole = np.stack([np.ones((3, 100)), right], axis=2)
    ours, mean = ratio(whole, 0), bootstrap_mean(right, 0)
    assert ours.value == mean.value
    assert (ours.low, ours.high) == pytest.approx((mean.low, mean.high), abs=0.01)
    kept = rng.random((3, 100)) < 0.5
    half = np.stack([kept, kept & right], axis=2).astype(float)
    found = ratio(half, 0)
    assert found.value == right[kept].mean()
    assert found.high - found.low > ours.high - ours.low
    assert ratio_gain(half, half, 0).high == 0
    gain, loss = ratio_gain(half, whole, 0), ratio_gain(whole, half, 0)
    assert (gain.value, gain.low, gain.high) == pytest.approx((-loss.value, -loss.high, -loss.low))
    lone = np.zeros((1, 100, 2))
    lone[0, 7] = 1  # a third of the resamples holds no case
    assert (ratio(lone, 0).low, ratio(lone, 0).high) == (1, 1)


def test_cases_of_one_unit_are_resampled_together() -> None:
    rng = np.random.default_rng(1)
    right = np.repeat(rng.random(50) < 0.5, 8).astype(float)  # the eight cases of a unit are all right, or all wrong
    unit = np.repeat(np.arange(50), 8)
    units, alone = counted(right, unit, 50)[None], bootstrap_mean(right, 0)
    found = ratio(units, 0)
    assert found.value == alone.value
    assert (found.high - found.low) / (alone.high - alone.low) == pytest.approx(8**0.5, rel=0.15)
    chance = counted(np.full(400, 0.4), unit, 50)[None]
    lower = ratio_lower(units, chance, 0)
    assert lower.low < one_sided_lower(right, np.full(400, 0.4), 0).low
    assert lower.high == float("inf")
    assert counted(np.ones(2), np.array([2, 2]), 4).tolist() == [[0, 0], [0, 0], [2, 2], [0, 0]]
