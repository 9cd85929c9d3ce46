from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm, t

from diptych.core import DataError
from diptych.metrics.pair_mean import pair_mean


def drawn(rng: np.random.Generator, items: int, pairs: int, shares: tuple[float, float]) -> tuple[np.ndarray, ...]:
    """Hits of expected share 1/2; of the variance behind them, shares belong to the first and to the second item."""
    one, two = (rng.integers(items, size=3 * pairs) for _ in range(2))
    joined = np.unique(np.stack([one, two], axis=1)[one != two], axis=0)
    joined = joined[rng.permutation(len(joined))[:pairs]]
    effects = rng.normal(size=(2, items)) * np.sqrt(shares)[:, None]
    own = np.sqrt(1 - sum(shares)) * rng.normal(size=len(joined))
    return (effects[0, joined[:, 0]] + effects[1, joined[:, 1]] + own > 0).astype(float), joined


@pytest.mark.parametrize("shares", [(0.0, 0.0), (0.6, 0.0), (0.4, 0.4)])
def test_it_holds_the_truth_where_pairs_share_items(shares: tuple[float, float]) -> None:
    """Where an item is in many pairs, these are no independent evidence."""
    inside = []
    for run in range(300):
        values, joined = drawn(np.random.default_rng([run, 7]), 40, 200, shares)
        ends = pair_mean(values, joined)
        inside.append(ends.low <= 0.5 <= ends.high)
    assert 0.92 <= np.mean(inside) <= 0.98


def test_the_variance_is_that_of_a_loop_that_leaves_items_out() -> None:
    rng = np.random.default_rng(0)
    values, joined = drawn(rng, 12, 40, (0.5, 0.3))
    joined[1] = joined[0, ::-1]  # the same two items in the other order
    n, m, mean = len(np.unique(joined)), len(values), values.mean()
    loop = sum((values[(joined != i).all(axis=1)].mean() - mean) ** 2 for i in np.unique(joined)) * (n - 1) / n
    sums: dict[frozenset[int], float] = {}
    for v, pair in zip(values, joined.tolist(), strict=True):
        sums[frozenset(pair)] = sums.get(frozenset(pair), 0.0) + v - mean
    loop -= sum(s * s for s in sums.values()) / m**2
    variance = max(loop, values.var(ddof=1) / m)
    shares = np.array([(joined == i).sum() for i in np.unique(joined)]) / (2 * m)
    half = t.ppf(0.975, 1 / (shares**2).sum() - 1) * math.sqrt(variance)
    ends = pair_mean(values, joined + 1000)
    assert (ends.value, ends.low, ends.high) == pytest.approx((mean, mean - half, mean + half))


def test_pairs_that_share_nothing_have_the_interval_of_their_mean() -> None:
    """To the first order in 1 / M: the jackknife has M - 1 where the mean has M."""
    values = norm.ppf(np.linspace(0.01, 0.99, 60))
    ends = pair_mean(values, np.arange(120).reshape(60, 2))
    half = t.ppf(0.975, 119) * values.std(ddof=1) / math.sqrt(60)
    assert ends.high == pytest.approx(values.mean() + half, rel=2 / 60)


def test_an_item_in_all_pairs_says_nothing_about_others() -> None:
    ends = pair_mean(np.array([0.0, 1.0, 0.5]), np.array([[0, 1], [0, 2], [3, 0]]))
    assert (ends.value, ends.low, ends.high) == (0.5, -math.inf, math.inf)


@pytest.mark.parametrize("values", [np.zeros(1), np.array([0.0, np.nan]), np.zeros((2, 1))])
def test_bad_values_are_refused(values: np.ndarray) -> None:
    with pytest.raises(DataError, match="at least 2"):
        pair_mean(values, np.arange(2 * len(values)).reshape(-1, 2))
    with pytest.raises(DataError, match="pairs"):
        pair_mean(np.zeros(3), np.zeros((2, 2), dtype=np.int64))
