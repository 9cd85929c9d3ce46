from __future__ import annotations

import numpy as np
import pytest

from diptych.core import Run
from diptych.metrics.axes.factors import (
    cues,
    error_ratio,
    factor_drop,
    shape_bias,
    shuffled_factors,
    worst_beyond_mean,
    worst_factor,
)


def hits(shares: tuple[float, ...], n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((len(shares), n)) < np.array(shares)[:, None]


def test_error_ratio_by_hand() -> None:
    right, half = np.ones(4, dtype=bool), np.array([True, True, False, False])
    assert error_ratio(half, half) == 1.0
    assert error_ratio(np.array([True, True, True, False]), half) == 2.0
    assert error_ratio(right, right) == 1.0
    assert error_ratio(right, half) == float("inf")


def test_the_worst_of_equal_factors_is_not_below_their_mean_and_a_worse_one_is() -> None:
    equal, same, one = [], [], []
    for seed in range(40):
        table = hits((0.6,) * 8, 200, seed)
        first = np.random.default_rng(seed).permutation(200) < 100
        equal.append(worst_beyond_mean(table, first).mean())
        same.append(table.mean() - table.mean(axis=1).min())
        one.append(worst_beyond_mean(hits((0.6,) * 7 + (0.2,), 200, seed), first).mean())
    assert abs(np.mean(equal)) < 0.01
    assert np.mean(same) > 0.03, "on the same items some factor is always worst"
    assert np.mean(one) == pytest.approx(0.35, abs=0.02)


def test_shuffled_factors_keep_each_item_and_have_no_worst() -> None:
    table = hits((0.9, 0.9, 0.1), 300)
    random = shuffled_factors(table, np.random.default_rng(1))
    assert (random.sum(0) == table.sum(0)).all()
    found = worst_factor("a", ("x", "y", "z"), table, Run())
    assert found.details["factor"] == "z"
    assert found.interval is not None
    assert found.interval[0] > 0.4
    assert found.control is not None
    assert found.control.held


def test_a_drop_is_paired_and_its_control_holds_in_most_runs() -> None:
    held = 0
    for seed in range(60):
        plain, changed = hits((0.8, 0.5), 200, seed)
        drop = factor_drop("a", "darker", plain, changed, (), Run(seed=seed))
        assert drop.value == pytest.approx(plain.mean() - changed.mean())
        assert drop.control is not None
        held += drop.control.held
    assert held >= 53


def test_answers_under_a_factor_of_ones_own_have_a_drop() -> None:
    drop = factor_drop("a", "rain", np.array([True, True]), np.array([True, False]), (), Run())
    assert drop.value == 0.5
    assert drop.says.endswith("on the same pictures, under the factor rain.")


def test_counts_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    predicted, shapes, textures = rng.integers(4, size=(3, 90))
    shape = texture = n = 0
    for p, s, t in zip(predicted, shapes, textures, strict=True):
        if s != t:
            shape, texture, n = shape + (p == s), texture + (p == t), n + 1
    assert cues(predicted, shapes, textures) == (shape, texture, n)


def test_a_model_that_names_neither_is_not_testable_and_one_that_names_shapes_is_biased() -> None:
    shapes, textures = np.arange(160) % 16, (np.arange(160) + 1) % 16
    lost = shape_bias("a", "cues", (shapes + 5) % 16, shapes, textures, 16, Run())
    assert not lost.testable
    assert "not above chance (12 %)" in lost.reason
    found = shape_bias("a", "cues", np.where(np.arange(160) % 4, shapes, textures), shapes, textures, 16, Run())
    assert (found.value, found.count) == (0.75, 160)
    assert found.interval is not None
    assert found.interval[0] > 0.5
    assert not shape_bias("a", "cues", shapes[:4], shapes[:4], textures[:4], 16, Run()).testable
