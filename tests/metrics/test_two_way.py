from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from diptych.core import DataError, UsageError
from diptych.metrics.closed_intervals import t_mean, wilson
from diptych.metrics.estimate import Interval
from diptych.metrics.interval import paired_bootstrap, paired_p
from diptych.metrics.two_way import (
    Spread,
    item_gain,
    item_gain_p,
    item_mean,
    share_interval,
    skewed_interval,
    spread,
    t_interval,
    t_p,
)


def ends(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def test_where_only_items_or_only_seeds_differ_it_is_students_interval() -> None:
    values = np.random.default_rng(0).normal(size=6)
    for table in (np.tile(values, (4, 1)), np.tile(values[:, None], (1, 4)), values[None], values[:, None]):
        ours, student = t_interval(float(values.mean()), spread(table)), t_mean(values)
        assert ends(ours) == pytest.approx(ends(student))


@pytest.mark.parametrize("moved", [0.1, 1.0])
def test_the_error_is_that_of_a_random_effects_model(moved: float) -> None:
    """The mean squares of seeds, items and the rest, by plain loops, and a simulation of the variance."""
    rng = np.random.default_rng(1)
    x = moved * rng.normal(size=(4, 1)) + rng.normal(size=(1, 30)) + rng.normal(size=(4, 30))
    a = 30 * sum((x[r].mean() - x.mean()) ** 2 for r in range(4)) / 3
    b = 4 * sum((x[:, n].mean() - x.mean()) ** 2 for n in range(30)) / 29
    rest = [(x[r, n] - x[r].mean() - x[:, n].mean() + x.mean()) ** 2 for r in range(4) for n in range(30)]
    e = sum(rest) / (3 * 29)
    off, v = spread(x), a + b - e
    assert off.error == pytest.approx(math.sqrt(v / 120))
    assert (a > b) == (moved == 1)
    freedom = v**2 / (a**2 / 3 + b**2 / 29 + e**2 / 87)
    assert off.degrees == pytest.approx(min(freedom, 3) if a > b else freedom)
    drawn = [
        moved * rng.normal(size=(4, 1)) + rng.normal(size=(1, 30)) + rng.normal(size=(4, 30)) for _ in range(3000)
    ]  # fmt: skip
    expected = np.var([table.mean() for table in drawn])
    assert np.mean([spread(table).error ** 2 for table in drawn]) == pytest.approx(expected, rel=0.06)


def test_noise_alone_leaves_at_least_the_degrees_of_the_seeds() -> None:
    rng = np.random.default_rng(2)
    degrees = [spread(rng.normal(size=(3, 20))).degrees for _ in range(300)]
    assert min(degrees) == 2
    assert max(degrees) > 2


def test_an_interval_of_hits_is_wilsons_and_that_of_equal_seeds_is_that_of_one() -> None:
    hits = np.random.default_rng(0).random(40) < 0.9
    assert ends(item_mean(hits)) == pytest.approx(wilson(int(hits.sum()), 40))
    assert item_mean(np.stack([hits] * 5)) == item_mean(hits)
    assert ends(item_mean(np.ones(20))) == pytest.approx(wilson(20, 20))
    assert ends(item_mean(np.zeros((3, 20)))) == pytest.approx(wilson(0, 20))


def test_seeds_that_differ_widen_an_interval_of_hits_and_it_stays_inside() -> None:
    rng = np.random.default_rng(0)
    alike = rng.random((5, 200)) < 0.9
    apart = rng.random((5, 200)) < np.array([0.7, 0.9, 0.95, 0.99, 1.0])[:, None]
    narrow, wide = item_mean(alike), item_mean(apart)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert 0 < wide.low < wide.value < wide.high < 1


def test_a_skewed_mean_reaches_farther_to_the_side_of_the_tail() -> None:
    values = np.random.default_rng(3).exponential(size=(1, 25))
    value, off = float(values.mean()), spread(values)
    assert off.skew == pytest.approx(stats.skew(values[0]) * (24 / 25) ** 1.5 / 5)
    low, high = ends(skewed_interval(value, off))
    assert high - value > value - low
    for end, sign in ((low, 1), (high, -1)):
        t = (value - end) / off.error
        moved = t + off.skew * t**2 / 3 + off.skew**2 * t**3 / 27 + off.skew / 6
        assert moved == pytest.approx(sign * stats.t.ppf(0.975, 24))
    assert ends(skewed_interval(value, Spread(off.error, 24))) == pytest.approx(ends(t_mean(values[0])))


def test_the_p_value_is_0_05_where_the_interval_ends_at_0() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.normal(0.1, 1, (4, 50)), rng.normal(size=(4, 50))
    gain = item_gain(first, second, seed=0)
    assert item_gain_p(first - gain.low, second, seed=0) == pytest.approx(0.05)
    assert item_gain_p(first - gain.high, second, seed=0) == pytest.approx(0.05)
    assert t_p(0.0, Spread(0.0, math.inf)) == 1
    assert t_p(0.1, Spread(0.0, math.inf)) == 0


def test_a_gain_of_one_seed_is_the_bootstrap_over_items() -> None:
    rng = np.random.default_rng(6)
    first, second = rng.random((2, 60)) < 0.6
    assert item_gain(first, second, seed=3) == paired_bootstrap(first, second, seed=3)
    assert item_gain_p(first, second, seed=3) == paired_p(first, second, seed=3)
    rows = [np.stack([x] * 4) for x in (first, second)]
    assert item_gain(*rows, seed=3) == paired_bootstrap(first, second, seed=3)
    none = item_gain(rows[0], rows[0], seed=3)
    assert ends(none) == pytest.approx((0.025 ** (1 / 60) - 1, 1 - 0.025 ** (1 / 60)))


def test_other_values_that_are_all_equal_are_not_certain() -> None:
    low, high = ends(item_mean(np.full((2, 20), 0.5)))
    assert (low, high) == pytest.approx((0.5 * 0.025 ** (1 / 20), 1 - 0.5 * 0.025 ** (1 / 20)))
    assert ends(item_mean(np.full(20, 2.5))) == (-math.inf, math.inf)
    assert ends(t_interval(0.1, Spread(0.0, math.inf))) == (-math.inf, math.inf)


def test_one_item_of_one_seed_says_nothing() -> None:
    assert ends(item_mean(np.array([0.4]))) == (-math.inf, math.inf)
    low, high = ends(share_interval(0.5, Spread(math.inf, 1.0), 1))
    assert (low, high) == (pytest.approx(0, abs=1e-3), pytest.approx(1, abs=1e-3))


def test_wrong_values_and_levels_are_refused() -> None:
    with pytest.raises(DataError, match="finite numbers"):
        item_mean(np.array([1.0, np.nan]))
    with pytest.raises(DataError, match="finite numbers"):
        item_mean(np.zeros((2, 0)))
    with pytest.raises(DataError, match="one size"):
        item_gain(np.zeros((2, 3)), np.zeros((2, 4)), seed=0)
    with pytest.raises(UsageError, match="level must be"):
        item_mean(np.array([0, 1]), level=1.0)
