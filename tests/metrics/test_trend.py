from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import norm, t

from diptych.core import DataError, UsageError
from diptych.metrics.trend import correlations, expected_interval, fit_line, inverse, slope_interval, transform


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


def test_equal_accuracies_make_a_line() -> None:
    x, y = [0.5, 0.5, 0.5, 0.6], [0.4, 0.4, 0.4, 0.4]
    assert fit_line(x, y, 100, fit="theil-sen").slope == 0.0
    flat = slope_interval(x, y, 100)
    assert (flat.value, flat.low, flat.high) == (pytest.approx(0.0), -math.inf, math.inf)


@pytest.mark.parametrize("models", [3, 5, 12])
def test_the_interval_of_a_slope_holds_it(models: int) -> None:
    """A percentile bootstrap over 3 models held it in 58 % of the runs."""
    rng, inside = np.random.default_rng(0), 0
    for _ in range(400):
        x = rng.uniform(0.2, 0.8, size=models)
        interval = slope_interval(x, 0.7 * x + rng.normal(0, 0.03, size=models), 10**6, scale="none")
        inside += interval.low <= 0.7 <= interval.high
    assert 0.93 <= inside / 400 <= 0.97


def test_what_a_family_lets_expect_is_the_prediction_of_least_squares() -> None:
    """The variance of a prediction is that of the line there, from the covariance of its coefficients, and s^2."""
    rng = np.random.default_rng(2)
    x, y, at = rng.uniform(0.2, 0.8, 9), rng.uniform(0.2, 0.8, 9), 0.35
    coefficients, covariance = np.polyfit(logit(x), logit(y), 1, cov="unscaled")
    about = logit(y) - np.polyval(coefficients, logit(x))
    g = np.array([logit(at), 1.0])
    half = t.ppf(0.975, 7) * np.sqrt(about @ about / 7 * (1 + g @ covariance @ g))
    interval = expected_interval(fit_line(x, y, 10**6), x, y, at)
    ends = [float(inverse(g @ coefficients + h, "logit")) for h in (0, -half, half)]
    assert (interval.value, interval.low, interval.high) == pytest.approx(ends)


def test_the_interval_of_a_slope_is_that_of_the_covariance_of_least_squares() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0.2, 0.8, 7), rng.uniform(0.2, 0.8, 7)
    (slope, _), covariance = np.polyfit(logit(x), logit(y), 1, cov=True)
    half = t.ppf(0.975, 5) * np.sqrt(covariance[0, 0])
    interval = slope_interval(x, y, 10**6)
    assert (interval.value, interval.low, interval.high) == pytest.approx((slope, slope - half, slope + half))


def test_bad_input_is_named() -> None:
    with pytest.raises(DataError, match="at least two models"):
        fit_line([0.5, 0.5], [0.1, 0.2], 10)
    with pytest.raises(DataError, match="one is NaN: leave that model out"):
        fit_line([0.5, 0.6, np.nan], [0.1, 0.2, 0.3], 10)
    with pytest.raises(DataError, match="at least 3 of them, got 2"):
        slope_interval([0.5, 0.6], [0.1, 0.2], 10)
    with pytest.raises(UsageError, match="scale must be none, logit or probit, got 'log'"):
        transform([0.5], "log", 10)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="fit must be"):
        fit_line([0.5, 0.6], [0.1, 0.2], 10, fit="huber")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least 1, got 0"):
        transform([0.5], "none", 0)
    assert np.isnan(correlations([0.1, 0.2], [0.1, 0.3])).all()
    assert correlations([0.1, 0.2, 0.3], [0.1, 0.2, 0.9])[1] == pytest.approx(1.0)
