from __future__ import annotations

import numpy as np
import pytest

from diptych.metrics.closed_intervals import wilson
from diptych.metrics.interval import bootstrap_mean, one_sided_lower, paired_p
from diptych.metrics.ratio import _shares, clustered_wilson, counted, ratio, ratio_gain, ratio_lower, ratio_p
from diptych.metrics.two_way import item_gain, item_gain_p, item_mean


def test_a_ratio_is_over_units_and_seeds() -> None:
    rng = np.random.default_rng(0)
    right = rng.random((3, 100)) < 0.7
    whole = np.stack([np.ones((3, 100)), right], axis=2)
    ours, mean = ratio(whole, 0), item_mean(right)
    assert (ours.value, ours.low, ours.high) == pytest.approx((mean.value, mean.low, mean.high))
    gains = ratio_gain(whole, whole[::-1], 0), item_gain(right, right[::-1], 0)
    assert gains[0].high == pytest.approx(gains[1].high)
    assert ratio_p(whole, whole[::-1] * [1, 0.9], 0) == pytest.approx(item_gain_p(right, right[::-1] * 0.9, 0))
    kept = rng.random((3, 100)) < 0.5
    half = np.stack([kept, kept & right], axis=2).astype(float)
    interval = ratio(half, 0)
    assert interval.value == right[kept].mean()
    assert interval.high - interval.low > ours.high - ours.low
    same = ratio_gain(half, half, 0)
    assert same.high == -same.low == pytest.approx(1 - 0.025 ** (1 / kept.any(axis=0).sum()))
    gain, loss = ratio_gain(half, whole, 0), ratio_gain(whole, half, 0)
    assert (gain.value, gain.low, gain.high) == pytest.approx((-loss.value, -loss.high, -loss.low))
    lone = np.zeros((1, 100, 2))
    lone[0, 7] = 1  # a third of the resamples holds no case
    assert (ratio(lone, 0).low, ratio(lone, 0).high) == pytest.approx((0.025, 1))


def test_cases_of_one_unit_are_resampled_together() -> None:
    rng = np.random.default_rng(1)
    right = np.repeat(rng.random(50) < 0.5, 8).astype(float)  # the eight cases of a unit are all right, or all wrong
    unit = np.repeat(np.arange(50), 8)
    units, alone = counted(right, unit, 50)[None], bootstrap_mean(right, 0)
    interval = ratio(units, 0)
    assert interval.value == alone.value
    assert (interval.high - interval.low) / (alone.high - alone.low) == pytest.approx(8**0.5, rel=0.15)
    chance = counted(np.full(400, 0.4), unit, 50)[None]
    lower = ratio_lower(units, chance, 0)
    assert lower.low < one_sided_lower(right, np.full(400, 0.4), 0).low
    assert lower.high == float("inf")
    assert counted(np.ones(2), np.array([2, 2]), 4).tolist() == [[0, 0], [0, 0], [2, 2], [0, 0]]


def test_the_p_value_of_a_gain_counts_units_and_not_their_cases() -> None:
    rng = np.random.default_rng(2)
    unit = np.repeat(np.arange(40), 8)
    right, other = (np.repeat(rng.random(40) < share, 8).astype(float) for share in (0.65, 0.45))
    units, base = (counted(hits, unit, 40)[None] for hits in (right, other))
    assert ratio_p(units, base, 0) > 10 * paired_p(right, other, 0)
    assert ratio_p(units, base, 0) == ratio_p(base, units, 0)
    assert ratio_p(units, units, 0) == 1
    first, second = ((rng.random(40) < share).astype(float) for share in (0.6, 0.5))
    alone = [counted(hits, np.arange(40), 40)[None] for hits in (first, second)]
    assert ratio_p(*alone, 0) == pytest.approx(paired_p(first, second, 0), abs=0.02)


def test_of_groups_the_worst_counts() -> None:
    """As a loop over resamples: the group that is worst in one need not be so in another."""
    rng = np.random.default_rng(3)
    group, right = rng.integers(2, size=80), rng.random((2, 80)) < 0.6
    cases = np.stack([np.tile(group == g, (2, 1)) for g in range(2)], axis=2).astype(float)
    values = np.stack([cases, cases * right[:, :, None]], axis=3)
    assert ratio(values, 0).value == min(right[:, group == g].mean() for g in range(2))
    seeds, units = rng.multinomial(2, [0.5] * 2, size=6), rng.multinomial(80, [1 / 80] * 80, size=6)
    weights = np.einsum("br,bn->brn", seeds, units)
    expected = [min(np.average(right[:, group == g], weights=w[:, group == g]) for g in range(2)) for w in weights]
    assert _shares(values, seeds.astype(float), units.astype(float)) == pytest.approx(expected)
    alone = values[:, :, :1]
    assert ratio(alone, 0) == ratio(alone[:, :, 0], 0)
    least = np.bincount(group).min()
    assert ratio_lower(values, values, 0).low == pytest.approx(0.05 ** (1 / least) - 1)


def test_alike_captions_of_a_picture_count_once_and_independent_ones_each() -> None:
    rng = np.random.default_rng(0)
    alike = 5.0 * rng.binomial(1, 0.4, 50)
    interval = clustered_wilson(np.stack([np.full(50, 5.0), alike], axis=1))
    assert interval == pytest.approx(wilson(alike.sum() / 5, 50), abs=0.01)
    single = rng.binomial(1, 0.3, 80).astype(float)
    assert clustered_wilson(np.stack([np.ones(80), single], axis=1)) == pytest.approx(
        wilson(single.sum(), 80), abs=0.01
    )
    for hits in (0.0, 5.0):
        assert clustered_wilson(np.tile([5.0, hits], (30, 1))) == pytest.approx(wilson(6 * hits, 30))


def test_clustered_intervals_hold_the_share() -> None:
    """Of 5 captions per picture with a correlation of 0.5, Wilson's interval over captions holds it in 75 %."""
    rng, inside, plain = np.random.default_rng(1), 0, 0
    for _ in range(400):
        hits = rng.binomial(5, rng.beta(0.4, 0.6, 60)).astype(float)
        low, high = clustered_wilson(np.stack([np.full(60, 5.0), hits], axis=1))
        inside += low <= 0.4 <= high
        low, high = wilson(hits.sum(), 300)
        plain += low <= 0.4 <= high
    assert 0.93 <= inside / 400 <= 0.97
    assert plain / 400 < 0.8
