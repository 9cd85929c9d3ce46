from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from diptych.metrics.source_lines import Points, gap, over_models, robustness

NORMAL = NormalDist()


def test_robustness_is_that_of_a_loop_with_polyfit() -> None:
    rng = np.random.default_rng(1)
    base, other = (Points(rng.uniform(0.3, 0.9, 8), rng.uniform(0.2, 0.8, 8)) for _ in range(2))
    slope, intercept = np.polyfit([NORMAL.inv_cdf(x) for x in base.x], [NORMAL.inv_cdf(y) for y in base.y], 1)
    loop = [y - NORMAL.cdf(intercept + slope * NORMAL.inv_cdf(x)) for x, y in zip(other.x, other.y, strict=True)]
    assert robustness(base, other, 1000) == pytest.approx(np.mean(loop))
    assert gap(base, other, other, 1000) == 0


def test_intervals_over_models_hold_the_value_and_narrow_with_models() -> None:
    rng = np.random.default_rng(2)

    def width(models: int) -> float:
        x = rng.uniform(0.4, 0.8, models)
        base = Points(x, x + rng.normal(0, 0.02, models))
        ends = over_models(robustness, (base, Points(x, base.y + 0.1)), 500, 0, 200)
        assert ends.low <= ends.value <= ends.high
        assert ends.value == pytest.approx(0.1, abs=0.03)
        return ends.high - ends.low

    assert width(100) < width(6)


def test_halves_alternate_and_ranges_are_kept() -> None:
    points = Points(np.array([0.9, 0.5, 0.7, 0.6]), np.array([0.1, 0.2, 0.3, 0.4]))
    first, second = points.halves()
    assert first.x.tolist() == [0.5, 0.7]
    assert second.y.tolist() == [0.4, 0.1]
    assert points.within(first).x.tolist() == [0.5, 0.7, 0.6]
    assert "got 4" in points.lacks_line(100, 5)
    assert "one reference accuracy" in Points(np.ones(3), points.y[:3]).lacks_line(100, 3)
    assert points.lacks_line(100, 3) == ""
