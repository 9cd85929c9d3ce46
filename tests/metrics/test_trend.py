from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import norm

from diptych.core.errors import DataError, UsageError
from diptych.metrics.trend import correlations, fit_line, inverse, slope_bootstrap, transform


def test_scales_against_scipy_and_their_inverses() -> None:
    p = np.array([0.0, 0.2, 0.5, 0.9, 1.0])
    cut = np.clip(p, 0.005, 0.995)
    np.testing.assert_allclose(transform(p, "logit", 100), logit(cut))
    np.testing.assert_allclose(transform(p, "probit", 100), norm.ppf(cut))
    np.testing.assert_allclose(transform(p, "none", 100), cut)
    for scale in ("none", "logit", "probit"):
        np.testing.assert_allclose(inverse(transform(p, scale, 100), scale), cut)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", ["none", "logit", "probit"])
def test_a_line_is_found_again_and_residuals_are_what_lies_above_it(scale: str) -> None:
    x = np.linspace(0.3, 0.8, 9)
    y = inverse(-0.1 + 0.8 * transform(x, scale, 10_000), scale)  # type: ignore[arg-type]
    line = fit_line(x, y, 10_000, scale=scale)  # type: ignore[arg-type]
    assert (line.slope, line.intercept) == (pytest.approx(0.8), pytest.approx(-0.1))
    np.testing.assert_allclose(line.residual(x, y + 0.03), 0.03, atol=1e-9)


def test_theil_sen_is_moved_less_by_one_outlier_and_least_squares_is_numpys() -> None:
    x = np.linspace(0.2, 0.8, 9)
    y = x.copy()
    y[-1] = 0.1
    slope, intercept = np.polyfit(x, y, 1)
    plain = fit_line(x, y, 10_000, scale="none")
    assert (plain.slope, plain.intercept) == (pytest.approx(slope), pytest.approx(intercept))
    pairs = [(y[j] - y[i]) / (x[j] - x[i]) for i in range(9) for j in range(i + 1, 9)]
    robust = fit_line(x, y, 10_000, scale="none", fit="theil-sen")
    assert robust.slope == pytest.approx(float(np.median(pairs)))
    assert robust.slope == pytest.approx(1.0)
    assert robust.models == 9


def test_the_interval_of_a_slope_covers_it() -> None:
    rng, inside = np.random.default_rng(0), 0
    for seed in range(60):
        x = rng.uniform(0.2, 0.8, size=25)
        y = 0.7 * x + rng.normal(0, 0.03, size=25)
        found = slope_bootstrap(x, y, 10**6, seed, scale="none", draws=200)
        inside += found.low <= 0.7 <= found.high
    assert inside >= 50


def test_bad_input_is_named() -> None:
    with pytest.raises(DataError, match="at least two models"):
        fit_line([0.5, 0.5], [0.1, 0.2], 10)
    with pytest.raises(DataError, match="at least 3 of them, got 2"):
        slope_bootstrap([0.5, 0.6], [0.1, 0.2], 10, 0)
    with pytest.raises(UsageError, match="scale must be none, logit or probit, got 'log'"):
        transform([0.5], "log", 10)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="fit must be"):
        fit_line([0.5, 0.6], [0.1, 0.2], 10, fit="huber")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least 1, got 0"):
        transform([0.5], "none", 0)
    assert np.isnan(correlations([0.1, 0.2], [0.1, 0.3])).all()
    assert correlations([0.1, 0.2, 0.3], [0.1, 0.2, 0.9])[1] == pytest.approx(1.0)
