from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, false_discovery_control

from diptych.core import DataError, UsageError
from diptych.metrics.interval import paired_p
from diptych.metrics.significance import cliques, critical_difference, holm, mean_ranks


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([]) == ()
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    with pytest.raises(DataError, match="must be in"):
        holm([1.2])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_no_correction_and_bonferroni(p: list[float]) -> None:
    adjusted = np.array(holm(p))
    assert np.all(adjusted >= np.array(p) - 1e-15)
    assert np.all(adjusted <= np.minimum(1, len(p) * np.array(p)) + 1e-15)
    assert np.all(adjusted >= false_discovery_control(p) - 1e-12), "Holm is never milder than Benjamini-Hochberg"


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_critical_difference_is_demsars_table(k: int, q: float) -> None:
    assert critical_difference(k, 14) == pytest.approx(q * np.sqrt(k * (k + 1) / (6 * 14)), rel=1e-3)
    with pytest.raises(UsageError, match="2 systems"):
        critical_difference(1, 3)


def test_mean_ranks_and_cliques() -> None:
    values = np.array([[0.9, 0.8, 0.8], [0.7, 0.9, 0.1]])
    assert mean_ranks(values).tolist() == [1.5, 1.75, 2.75]
    assert cliques([1.5, 1.75, 2.75], 1.0) == ((0, 1), (1, 2))
    assert cliques([3.0, 1.0, 1.1, 5.0], 0.5) == ((1, 2),)
    assert cliques([1.0, 2.0], 1.5) == ((0, 1),)
    with pytest.raises(DataError, match="finite"):
        mean_ranks(np.array([[np.nan, 1.0]]))


def test_the_paired_p_value_agrees_with_mcnemar() -> None:
    rng = np.random.default_rng(0)
    first = (rng.random(300) < 0.62).astype(float)
    second = np.where(rng.random(300) < 0.3, rng.random(300) < 0.5, first).astype(float)
    better, worse = int((first > second).sum()), int((first < second).sum())
    exact = binomtest(better, better + worse).pvalue
    middle = exact - binom.pmf(better, better + worse, 0.5)
    assert middle - 0.02 < paired_p(first, second, 0) < exact + 0.02, "between McNemar's mid-p and his exact test"
    assert paired_p(first, first, 0) == 1.0
    assert paired_p(np.ones(200), np.zeros(200), 0) < 0.001


def test_without_a_difference_p_values_are_uniform() -> None:
    rng = np.random.default_rng(1)
    found = [paired_p(rng.normal(size=(2, 60)), np.zeros((2, 60)), i, draws=400) for i in range(200)]
    assert np.mean(np.array(found) < 0.05) < 0.12
    assert 0.4 < np.mean(found) < 0.6
