from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from diptych.core import DataError, UsageError
from diptych.metrics import interval
from diptych.metrics.closed_intervals import above_chance, at_chance, newcombe, t_mean, wilson


def test_student_equals_scipy_and_one_value_says_nothing() -> None:
    values = np.random.default_rng(0).normal(0.3, 1, size=6)
    ends = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    ours = t_mean(values, level=0.9)
    assert (ours.value, ours.low, ours.high) == pytest.approx((values.mean(), ends.low, ends.high))
    lower = stats.ttest_1samp(values, 0, alternative="greater").confidence_interval(0.95)
    assert t_mean(values, sides=1).low == pytest.approx(lower.low)
    assert t_mean(values, sides=1).high == math.inf
    assert t_mean(np.array([0.4])) == interval.Interval(0.4, -math.inf, math.inf)
    with pytest.raises(UsageError, match="sides must be 1 or 2, got 3"):
        t_mean(values, sides=3)
    with pytest.raises(DataError, match="at least one"):
        t_mean(np.zeros(0))


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (7, 10), (10, 10), (81, 263)])
def test_wilson_equals_scipy(hits: int, n: int) -> None:
    theirs = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits, n) == pytest.approx((theirs.low, theirs.high), abs=1e-7)


@pytest.mark.parametrize(
    ("counts", "ends"),
    [
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((5, 56, 0, 29), (-0.0381, 0.1926)),
        ((10, 10, 0, 10), (0.6075, 1.0)),
    ],
)
def test_newcombe_gives_the_table_of_the_paper(counts: tuple[int, int, int, int], ends: tuple[float, float]) -> None:
    assert newcombe(*counts) == pytest.approx(ends, abs=5e-5)


def test_the_tail_against_a_sum() -> None:
    for hits, items, chance in ((30, 100, 0.25), (33, 100, 0.25), (9, 10, 0.5), (2, 40, 0.1), (0, 5, 0.5)):
        tail = sum(math.comb(items, k) * chance**k * (1 - chance) ** (items - k) for k in range(hits, items + 1))
        assert above_chance(hits, items, chance) == (tail < 0.05)


def test_the_reason_has_both_numbers() -> None:
    assert at_chance(80, 100, 0.25) == ""
    assert at_chance(26, 100, 0.25).startswith("26 of 100 answers are right (26 %), which is not above chance (25 %)")
    assert "0 of 0" in at_chance(0, 0, 0.5)
    with pytest.raises(UsageError, match="got 3 of 2"):
        above_chance(3, 2, 0.5)
