from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from diptych.metrics.interval import bootstrap_mean, one_sided_lower, paired_bootstrap, paired_p


@pytest.mark.parametrize("items", [1, 2, 7, 32])
def test_hits_that_are_all_right_or_wrong_have_the_exact_interval(items: int) -> None:
    exact = stats.binomtest(items, items).proportion_ci(method="exact")
    right, wrong = bootstrap_mean(np.ones(items), seed=0), bootstrap_mean(np.zeros((3, items)), seed=0)
    assert (right.low, right.high) == (pytest.approx(exact.low), 1)
    assert (wrong.low, wrong.high) == (0, pytest.approx(1 - exact.low))


@pytest.mark.parametrize(("value", "reach"), [(0.0, 1.0), (1.0, 2.0)])
def test_gains_that_are_all_equal_are_not_certain(value: float, reach: float) -> None:
    first, second = np.full((2, 32), value), np.zeros((2, 32))
    both, lower = paired_bootstrap(first, second, seed=0), one_sided_lower(first, second, seed=0)
    assert both.low == pytest.approx(value - reach * (1 - 0.025 ** (1 / 32)))
    assert both.high == pytest.approx(min(1.0, value + 1 - 0.025 ** (1 / 32)))
    assert (lower.low, lower.high) == (pytest.approx(value - reach * (1 - 0.05 ** (1 / 32))), math.inf)


def test_one_item_shows_nothing() -> None:
    assert one_sided_lower(np.ones(1), np.zeros(1), seed=0).low < 0
    assert paired_p(np.ones(1), np.zeros(1), seed=0) == 1
    assert paired_p(np.ones(5), np.zeros(5), seed=0) == pytest.approx(stats.binomtest(5, 5).pvalue)
    assert paired_p(np.ones(5), np.ones(5), seed=0) == 1


def test_values_without_bounds_that_are_all_equal_tell_no_interval() -> None:
    same = bootstrap_mean(np.full(20, 3.5), seed=0)
    assert (same.value, same.low, same.high) == (3.5, -math.inf, math.inf)
    rounding = np.array([3.5, 3.5 + 1e-15])
    assert bootstrap_mean(rounding, seed=0).low == -math.inf
