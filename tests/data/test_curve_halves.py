from __future__ import annotations

import numpy as np
import pytest

from diptych.data.curve_halves import halves, power
from diptych.data.formats.lightcurves import LightCurve


def test_a_periodogram_finds_the_period() -> None:
    rng = np.random.default_rng(0)
    time = np.sort(rng.uniform(0, 900, 250))
    grid = np.linspace(-3.0, 1.0, 256)
    for period in (0.5124, 3.7, 41.0):
        found = power(LightCurve(time, np.sin(2 * np.pi * time / period) + rng.normal(0, 0.2, 250)), grid)
        assert found.time[found.value.argmax()] == pytest.approx(-np.log10(period), abs=0.02)
    made = halves(LightCurve(time, np.sin(time)), grid)
    assert made.curve is not None
    assert made.metadata is not None
    assert len(made.curve.time) == 125
    assert np.isfinite(made.metadata).all()
