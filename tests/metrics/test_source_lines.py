from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import t

from diptych.core import DataError
from diptych.metrics.source_lines import Points, robustness

NORMAL = NormalDist()


A, B, D = (np.array([1.0, 0.2, 0.0]), np.array([0.4, 0.9, 0.0]), np.array([0.3, 1.0, 0.0]))


def test_robustness_is_that_of_a_loop_with_polyfit() -> None:
    rng = np.random.default_rng(1)
    base, other, third = (Points(rng.uniform(0.3, 0.9, n), rng.uniform(0.2, 0.8, n)) for n in (8, 6, 4))
    slope, intercept = np.polyfit([NORMAL.inv_cdf(x) for x in base.x], [NORMAL.inv_cdf(y) for y in base.y], 1)

    def loop(models: Points) -> float:
        lines = [NORMAL.cdf(intercept + slope * NORMAL.inv_cdf(x)) for x in models.x]
        return float(np.mean(models.y - lines))

    assert robustness(base, other, 1000).value == pytest.approx(loop(other))
    assert robustness(base, other, 1000, less=third).value == pytest.approx(loop(other) - loop(third))
    assert robustness(base, other, 1000, less=other).value == 0


def test_the_standard_error_of_the_line_is_that_of_drawn_lines() -> None:
    """The models lie on a line, so that the line of the base alone is uncertain."""
    rng = np.random.default_rng(3)
    x, own = ndtri(np.linspace(0.45, 0.8, 9)), ndtri(np.array([0.5, 0.7, 0.75]))
    bases = [Points(ndtr(x), ndtr(0.8 * x - 0.3 + 0.05 * rng.standard_normal(9))) for _ in range(600)]
    values, halves = [], []
    for base in bases:
        ends = robustness(base, Points(ndtr(own), base.line(500).at(ndtr(own))), 500)
        values.append(robustness(base, Points(ndtr(own), ndtr(0.8 * own - 0.3)), 500).value)
        halves.append((ends.high - ends.value) / t.ppf(0.975, 7))
    assert np.sqrt(np.mean(np.square(halves))) == pytest.approx(np.std(values), rel=0.1)


@pytest.mark.parametrize("models", [3, 6, 15])
def test_intervals_hold_0_where_sources_do_not_differ(models: int) -> None:
    """Percentile bootstraps over 3 models held it in 80 to 83 % of the runs."""
    rng = np.random.default_rng(2)

    def source() -> Points:
        x = rng.uniform(0.45, 0.8, models)
        return Points(x, ndtr(0.8 * ndtri(x) - 0.3 + 0.05 * rng.standard_normal(models)))

    inside = []
    for _ in range(400):
        a, b, c = source(), source(), source()
        inside.append([ends.low <= 0 <= ends.high for ends in (robustness(a, b, 500), robustness(a, b, 500, less=c))])
    assert (np.mean(inside, axis=0) >= 0.93).all()
    assert (np.mean(inside, axis=0) <= (0.99 if models == 3 else 0.98)).all()


def test_halves_alternate_and_ranges_are_kept() -> None:
    points = Points(np.array([0.9, 0.5, 0.7, 0.6]), np.array([0.1, 0.2, 0.3, 0.4]))
    first, second = points.halves()
    assert first.x.tolist() == [0.5, 0.7]
    assert second.y.tolist() == [0.4, 0.1]
    assert points.within(first).x.tolist() == [0.5, 0.7, 0.6]
    assert "got 4" in points.lacks_line(100, 5)
    assert "one reference accuracy" in Points(np.ones(3), points.y[:3]).lacks_line(100, 3)
    assert points.lacks_line(100, 3) == ""


@pytest.mark.parametrize(("base", "models", "less"), [(2, 2, None), (3, 1, None), (3, 2, 1)])
def test_too_few_models_have_no_interval(base: int, models: int, less: int | None) -> None:
    a = Points(np.linspace(0.3, 0.7, 4), np.linspace(0.3, 0.6, 4))
    few = None if less is None else a.take(range(less))
    with pytest.raises(DataError, match=f"got {base} and {min(models, less or 2)}: give more"):
        robustness(a.take(range(base)), a.take(range(models)), 100, few)
