"""Promises are kept: exactly in expectation over draws, by the count of ranks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.core import DataError, UsageError
from diptych.metrics.conformal import (
    class_thresholds,
    false_alarm_shares,
    set_threshold,
    sets,
    unknown_threshold,
)


@given(st.integers(5, 60), st.sampled_from([0.5, 0.8, 0.9, 0.95]), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_leave_one_out_coverage_is_exact(n: int, level: float, seed: int) -> None:
    """Each of n + 1 exchangeable items in turn is the new one: the share covered is at least the level, and at most
    1/(n+1) above.
    """
    values = np.random.default_rng(seed).permutation(np.linspace(0.01, 0.99, n + 1))
    covered = np.mean([values[i] >= set_threshold(np.delete(values, i), level) for i in range(n + 1)])
    assert covered >= level - 1e-9
    if math.floor((n + 1) * (1 - level) + 1e-9):
        assert covered <= level + 1 / (n + 1) + 1e-9


@given(st.integers(20, 80), st.sampled_from([0.05, 0.1, 0.3]), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_leave_one_out_false_alarms_stay_below_the_rate(n: int, rate: float, seed: int) -> None:
    values = np.random.default_rng(seed).permutation(np.linspace(0.01, 0.99, n + 1))
    alarms = np.mean([values[i] < unknown_threshold(np.delete(values, i), rate) for i in range(n + 1)])
    assert alarms <= rate + 1e-9
    assert alarms > rate - 2 / (n + 1) - 1e-9


def test_coverage_of_sets_on_new_items() -> None:
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(48000, 8))
    labels = (logits + 2 * rng.gumbel(size=logits.shape)).argmax(axis=1)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    own = p[np.arange(48000), labels]
    found = sets(p[16000:], set_threshold(own[:16000], 0.9))
    assert found[np.arange(32000), labels[16000:]].mean() == pytest.approx(0.9, abs=0.02)
    assert found.any(axis=1).all()
    each = class_thresholds(own[:16000], labels[:16000], 8, 0.9)
    inside = sets(p[16000:], each)[np.arange(32000), labels[16000:]]
    assert all(inside[labels[16000:] == k].mean() > 0.87 for k in range(8))


def test_a_class_with_few_items_takes_the_common_threshold() -> None:
    own, labels = np.linspace(0.1, 0.9, 30), np.array([0] * 20 + [1] * 9 + [2])
    found = class_thresholds(own, labels, 4, 0.9)
    assert found[0] == set_threshold(own[:20], 0.9)
    assert found[1:].tolist() == [set_threshold(own, 0.9)] * 3


def test_too_few_items_promise_everything_or_refuse() -> None:
    assert set_threshold(np.array([0.9] * 8), 0.9) == -np.inf
    assert set_threshold(np.array([0.9] * 9), 0.9) == 0.9
    with pytest.raises(UsageError, match="give 19 or more"):
        unknown_threshold(np.ones(18), 0.05)
    assert unknown_threshold(np.arange(19.0), 0.05) == 0.0


def test_bad_input() -> None:
    for bad in (0.0, 1.0, 5.0):
        with pytest.raises(UsageError, match="share"):
            set_threshold(np.ones(3), bad)
        with pytest.raises(UsageError, match="share"):
            unknown_threshold(np.ones(3), bad)
    with pytest.raises(DataError, match="at least one"):
        set_threshold(np.array([]), 0.9)


def test_a_shift_is_said_and_a_fifth_of_anomalies_is_not() -> None:
    from diptych.metrics.conformal import raised

    fired = {"same": 0, "a tenth": 0, "a fifth": 0, "darker": 0}
    for seed in range(200):
        rng = np.random.default_rng(seed)
        clean, new = rng.normal(size=30), rng.normal(size=60)
        for name, scores in {
            "same": new,
            "a tenth": np.where(np.arange(60) < 6, 9.0, new),
            "a fifth": np.where(np.arange(60) < 12, 9.0, new),
            "darker": new + 1.5,
        }.items():
            fired[name] += raised(scores, clean) < 0.05
    assert max(fired["same"], fired["a tenth"], fired["a fifth"]) <= 10  # at most 5 %
    assert fired["darker"] >= 180


def test_a_shift_needs_clean_items_and_a_share() -> None:
    from diptych.metrics.conformal import raised

    assert raised(np.full(50, 9.0), np.arange(5.0)) == 1.0
    assert raised(np.full(50, 9.0), np.arange(6.0)) < 0.05
    with pytest.raises(DataError, match="got 0 and 3"):
        raised(np.array([]), np.arange(3.0))
    with pytest.raises(UsageError, match=r"share must be in \[0, 1\), got 1.0"):
        raised(np.ones(3), np.ones(3), share=1.0)


def test_p_values_of_groups_count_groups_and_those_of_single_items_count_items() -> None:
    rng = np.random.default_rng(0)
    clean, scores = np.round(rng.normal(size=30), 1), np.round(rng.normal(size=50), 1)
    plain = [(1 + (clean >= s).sum()) / 31 for s in scores]
    assert false_alarm_shares(scores, clean) == pytest.approx(plain)
    assert false_alarm_shares(scores, clean, np.arange(30)) == pytest.approx(plain)
    groups = np.repeat(np.arange(6), 5)
    assert false_alarm_shares(scores, np.repeat(clean[:6], 5), groups) == pytest.approx(
        false_alarm_shares(scores, clean[:6])
    )
    high = false_alarm_shares(np.array([9.0]), clean, np.array([0] * 29 + [1]))
    assert high == pytest.approx([1 / 3])
