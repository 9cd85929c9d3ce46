from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from diptych.core import DataError
from diptych.metrics.auroc_intervals import _weighted, auroc_difference, auroc_gain, auroc_interval
from diptych.metrics.interval import both_ends


def draw(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.3
    return np.round(rng.normal(0, 1, n) + 0.8 * labels, 1), labels  # rounded: there are ties


def test_intervals_hold_the_value_and_a_twin_gains_nothing() -> None:
    scores, labels = draw(300)
    rows = np.stack([scores, draw(300)[0] + np.random.default_rng(9).normal(0, 0.2, 300)])
    interval = auroc_interval(rows, labels)
    assert interval.low < interval.value < interval.high
    assert interval.value == pytest.approx(np.mean([roc_auc_score(labels, r) for r in rows]))
    assert interval.high - interval.low == pytest.approx(4 * 0.033, abs=0.05)
    same = auroc_gain(rows, rows, labels, 0, draws=200)
    assert same.value == 0
    assert same.low == pytest.approx(0.05 ** (1 / labels.sum()) - 1)
    assert auroc_gain(rows, np.zeros_like(rows), labels, 0).low > 0.05
    noise = np.random.default_rng(3).normal(size=rows.shape)
    assert auroc_gain(noise, np.zeros_like(rows), labels, 0).low < 0


def test_the_interval_of_one_seed_has_the_variance_of_delong() -> None:
    rng = np.random.default_rng(4)
    labels = np.arange(400) < 150
    scores = rng.normal(size=400) + labels
    above = (scores[labels][:, None] > scores[~labels]).astype(float)
    value, error = above.mean(), np.sqrt(above.mean(1).var(ddof=1) / 150 + above.mean(0).var(ddof=1) / 250)
    ours = auroc_interval(scores[None], labels)
    assert ours.value == pytest.approx(value)
    assert (ours.high - ours.low) / 2 == pytest.approx(1.96 * error, rel=0.02)
    assert ours.value - ours.low > ours.high - ours.value  # nearer to 1 than to 0
    tied = auroc_interval(np.round(scores)[None], labels)
    assert tied.value == pytest.approx(roc_auc_score(labels, np.round(scores)))


def test_a_perfect_ranking_of_few_items_is_not_certain() -> None:
    few, many = (auroc_interval(np.arange(n)[None], np.arange(n) >= n // 2) for n in (10, 200))
    assert (few.value, few.high) == (many.value, many.high) == (1.0, 1.0)
    assert few.low == pytest.approx(10 / (10 + 1.96**2), abs=1e-3)
    assert few.low < many.low < 1


def test_seeds_that_differ_widen_the_interval() -> None:
    scores, labels = draw(200)
    rows = np.stack([scores + strength * labels for strength in (-1.0, 0.0, 2.0)])
    apart, alike = auroc_interval(rows, labels), auroc_interval(np.stack([scores] * 3), labels)
    one = auroc_interval(scores[None], labels)
    assert apart.high - apart.low > 2 * (alike.high - alike.low)
    assert (alike.low, alike.high) == pytest.approx((one.low, one.high), abs=1e-3)


def test_one_resample_is_the_auroc_of_the_drawn_items() -> None:
    """The weighted area of drawn counts equals the area over items repeated so often."""
    scores, labels = draw(30)
    rng = np.random.default_rng(2)
    counts = np.zeros(30)
    for kind in (labels, ~labels):
        counts[kind] = rng.multinomial(kind.sum(), np.full(kind.sum(), 1 / kind.sum()))
    share = np.where(labels, counts / labels.sum(), counts / (~labels).sum())
    taken = np.repeat(np.arange(30), counts.astype(int))
    assert _weighted(scores, labels, share[None])[0] == pytest.approx(roc_auc_score(labels[taken], scores[taken]))


def test_a_gain_with_both_ends_is_students_over_seeds_and_the_bootstrap_of_one() -> None:
    scores, labels = draw(200)
    rng = np.random.default_rng(8)
    first, second = (np.stack([scores] * 3) + rng.normal(0, wide, (3, 200)) for wide in (0.2, 2.0))
    gain, loss = auroc_difference(first, second, labels, 0), auroc_difference(second, first, labels, 0)
    own, base = (np.mean([roc_auc_score(labels, row) for row in rows]) for rows in (first, second))
    assert gain.value == pytest.approx(own - base)
    assert (gain.low, gain.high) == pytest.approx((-loss.high, -loss.low))
    assert gain.low < gain.value < gain.high
    one = auroc_difference(first[:1], second[:1], labels, 0)
    assert one == both_ends(auroc_gain, first[:1], second[:1], labels, 0)
    assert auroc_difference(first, np.zeros_like(first), labels, 0).low > 0.05
    for refuses in (auroc_difference, auroc_gain):
        with pytest.raises(DataError, match="one size"):
            refuses(first, second[:2], labels, 0)
