from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from diptych.core import DataError, UsageError
from diptych.metrics import interval
from diptych.metrics.interval import (
    bootstrap_mean,
    both_ends,
    by_count,
    by_index,
    group_sums,
    one_sided_lower,
    paired_bootstrap,
    per_seed,
    resample,
    within,
)


def test_one_run_agrees_with_scipy_and_with_the_normal_form() -> None:
    hits = np.random.default_rng(0).random(400) < 0.7
    ours = bootstrap_mean(hits, seed=1, draws=20000)
    theirs = stats.bootstrap(
        (hits.astype(float),), np.mean, method="percentile", n_resamples=20000, random_state=np.random.default_rng(2)
    )
    spread = 1.96 * math.sqrt(hits.mean() * (1 - hits.mean()) / 400)
    assert ours.value == hits.mean()
    assert (ours.low, ours.high) == pytest.approx(
        (theirs.confidence_interval.low, theirs.confidence_interval.high), abs=0.004
    )
    assert (ours.low, ours.high) == pytest.approx((ours.value - spread, ours.value + spread), abs=0.004)


def test_seeds_and_items_equal_a_loop_over_draws() -> None:
    table = np.random.default_rng(0).normal(size=(5, 30))
    rng, means = np.random.default_rng(7), []
    for _ in range(5000):
        rows, columns = rng.integers(5, size=5), rng.integers(30, size=30)
        means.append(table[np.ix_(rows, columns)].mean())
    ours = bootstrap_mean(table, seed=3, draws=20000)
    assert (ours.low, ours.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.01)


def test_spread_between_seeds_widens_the_interval() -> None:
    rng = np.random.default_rng(0)
    items = rng.normal(size=(1, 200))
    steady, moving = items + np.zeros((5, 1)), items + rng.normal(size=(5, 1))
    width = [bootstrap_mean(t, seed=0).high - bootstrap_mean(t, seed=0).low for t in (steady, moving)]
    assert width[1] > 3 * width[0]
    alone = bootstrap_mean(items[0], seed=0)
    assert width[0] == pytest.approx(alone.high - alone.low, rel=0.1)


def test_pairing_removes_what_both_share() -> None:
    rng = np.random.default_rng(0)
    easy = rng.normal(size=(3, 300))
    gain = paired_bootstrap(easy + 0.1, easy, seed=0)
    assert (gain.value, gain.low, gain.high) == (pytest.approx(0.1), -math.inf, math.inf)  # of values without bounds
    shuffled = paired_bootstrap(easy + 0.1, easy[:, ::-1], seed=0)
    assert shuffled.low < 0 < shuffled.high


def test_one_sided_bound_is_the_five_percent_point() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.2, 1, size=(5, 300)), rng.normal(0, 1, size=(5, 300))
    lower, both = one_sided_lower(first, second, seed=0), paired_bootstrap(first, second, seed=0, level=0.90)
    assert lower.low == pytest.approx(both.low, abs=1e-12)
    assert lower.high == math.inf
    assert lower.low > 0
    assert one_sided_lower(second, second.copy(), seed=0).low == -math.inf
    assert one_sided_lower(second, first, seed=0).low < 0


def test_coverage_is_about_what_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for trial in range(200):
        found = bootstrap_mean(rng.normal(size=100), seed=trial, draws=400)
        inside += found.low <= 0 <= found.high
    assert 180 <= inside <= 198


def test_seed_fixes_the_bits_and_memory_chunks_cover_all_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(3, 50))
    assert bootstrap_mean(values, seed=4) == bootstrap_mean(values, seed=4)
    assert bootstrap_mean(values, seed=4) != bootstrap_mean(values, seed=5)
    whole = bootstrap_mean(values, seed=4, draws=5001)
    monkeypatch.setattr(interval, "CELLS", 700)
    parts = bootstrap_mean(values, seed=4, draws=5001)
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), abs=0.02)


def test_an_interval_with_width_stays_the_quantiles_of_the_resamples() -> None:
    values = np.r_[np.zeros(31), 1.0]
    drawn = resample(values[None], lambda v, _, items: items @ v[0] / 32, 0)
    ends = interval.two_sided(1 / 32, drawn, units=32, possible=(-1.0, 1.0))
    assert (ends.low, ends.high) == tuple(np.quantile(drawn, [0.025, 0.975]))


def test_bad_values_are_refused() -> None:
    for values in (np.zeros(0), np.zeros((0, 3)), np.array([1.0, np.nan]), np.zeros((2, 2, 2))):
        with pytest.raises(DataError, match="finite numbers"):
            bootstrap_mean(values, seed=0)
    with pytest.raises(DataError, match="same seeds and items"):
        paired_bootstrap(np.zeros(3), np.zeros(4), seed=0)
    with pytest.raises(UsageError, match="level"):
        bootstrap_mean(np.zeros(3), seed=0, level=95)
    with pytest.raises(UsageError, match="draws"):
        bootstrap_mean(np.zeros(3), seed=0, draws=0)


def test_both_ways_of_drawing_have_the_moments_of_a_bootstrap() -> None:
    for draw in (by_index, by_count):
        counts = draw(np.random.default_rng(0), 40_000, 5)
        assert (counts.sum(axis=1) == 5).all()
        np.testing.assert_allclose(np.cov(counts, rowvar=False), np.eye(5) - 1 / 5, atol=0.03)


def test_strata_keep_their_sizes() -> None:
    first = np.array([True, False, True, False, False])
    counts = within(first, ~first)(np.random.default_rng(0), 1000, 5)
    assert (counts[:, first].sum(axis=1) == 2).all()
    assert (counts[:, ~first].sum(axis=1) == 3).all()
    assert (counts.std(axis=0) > 0.5).all()


def test_a_gain_is_the_difference_in_the_same_resamples() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 3, 40))

    def medians(row: np.ndarray, items: np.ndarray) -> np.ndarray:
        return np.stack([np.median(np.repeat(row, n.astype(int))) for n in items])

    one, two = (resample(v, per_seed(medians), 5, draws=50) for v in (first, second))
    gain = resample(first, per_seed(medians), 5, over=second, draws=50)
    np.testing.assert_array_equal(gain, one - two)
    with pytest.raises(DataError, match="same seeds and items"):
        resample(first, per_seed(medians), 5, over=second[:, :5])


def test_blocks_bound_what_is_held_and_cover_all_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interval, "CELLS", 700)
    blocks = []

    def statistic(values: np.ndarray, seeds: np.ndarray, items: np.ndarray) -> np.ndarray:
        blocks.append(len(items))
        return items @ values.mean(0)

    assert resample(np.ones((2, 10)), statistic, 0, draws=101, width=70).tolist() == [10.0] * 101
    assert blocks == [10] * 10 + [1]


def test_group_sums_equal_a_loop() -> None:
    rng = np.random.default_rng(0)
    values, groups = rng.normal(size=(3, 50)), rng.choice([2, 5, 11], size=50)
    loop = np.stack([values[:, groups == g].sum(axis=1) for g in (2, 5, 11)], axis=1)
    np.testing.assert_allclose(group_sums(values, groups), loop)


def test_both_ends_come_from_two_lower_bounds() -> None:
    def bound(first: float, second: float, spread: float, *, level: float) -> interval.Interval:
        return interval.Interval(first - second, first - second - spread * level, np.inf)

    assert both_ends(bound, 3.0, 1.0, 2.0) == interval.Interval(2.0, 2.0 - 1.95, 2.0 + 1.95)
