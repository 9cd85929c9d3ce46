"""Lines through accuracies of many models: what one accuracy lets expect of another, and what a model has beyond it.

    g(y)     ~  b0 + b1 g(x)                                     the line of a family of models
    residual =  y - g^{-1}( b0 + b1 g(x) )                       effective robustness of one model

x: accuracy on the reference set, y: accuracy under a shift or on a part of the set
g: the identity, the logit log(p / (1 - p)), or the probit, the inverse of the standard normal distribution function
b0, b1: intercept and slope, by least squares or by Theil and Sen

Source: Taori et al. 2020, section 2 (effective robustness); Theil 1950 and Sen 1968 (the median of all slopes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diptych.core.errors import DataError, UsageError
from diptych.metrics.interval import Interval, two_sided

Floats = NDArray[np.float64]
Scale = Literal["none", "logit", "probit"]
Fit = Literal["least squares", "theil-sen"]


@dataclass(frozen=True)
class Line:
    """A fitted line.

    Args:
        slope, intercept: b1 and b0, on the scale.
        scale: g.
        items: n, test items behind each accuracy; accuracies are cut to [1 / (2 n), 1 - 1 / (2 n)] before g.
    """

    slope: float
    intercept: float
    scale: Scale
    models: int
    items: int

    def at(self, x: Any) -> Floats:
        """Return the expected accuracies (M,) at reference accuracies (M,)."""
        return inverse(self.intercept + self.slope * transform(x, self.scale, self.items), self.scale)

    def residual(self, x: Any, y: Any) -> Floats:
        """Return the effective robustness (M,): how much y is above what x lets expect."""
        return np.asarray(y, dtype=np.float64) - self.at(x)


def transform(p: Any, scale: Scale, items: int) -> Floats:
    """Return g(p), with p cut to [1 / (2 n), 1 - 1 / (2 n)].

    Raises:
        UsageError: another scale, or fewer than one item.

    Example:
        >>> transform([0.5, 1.0], "logit", 100).round(3).tolist()
        [0.0, 5.293]
    """
    if items < 1:
        raise UsageError(f"items must be at least 1, got {items}.")
    clipped = np.clip(np.asarray(p, dtype=np.float64), 1 / (2 * items), 1 - 1 / (2 * items))
    from scipy.special import logit, ndtri

    if scale not in ("none", "logit", "probit"):
        raise UsageError(f"scale must be none, logit or probit, got {scale!r}.")
    return np.asarray(clipped if scale == "none" else logit(clipped) if scale == "logit" else ndtri(clipped))


def inverse(values: Any, scale: Scale) -> Floats:
    """Return g^{-1} of values on a scale, as fractions."""
    from scipy.special import expit, ndtr

    z = np.asarray(values, dtype=np.float64)
    return np.asarray(z if scale == "none" else expit(z) if scale == "logit" else ndtr(z))


def fit_line(x: Any, y: Any, items: int, *, scale: Scale = "logit", fit: Fit = "least squares") -> Line:
    """Fit the line of a family of models.

    Args:
        x: (M,) reference accuracies of M models, as fractions.
        y: (M,) their other accuracies.
        items: n, test items behind each accuracy.
        scale: g; "logit" (the testbed of Taori et al. 2020), or "probit" (Nguyen et al. 2022).
        fit: "least squares", or "theil-sen", which outliers move less.

    Raises:
        DataError: sizes differ, fewer than two models, or all have one reference accuracy.
        UsageError: another scale or fit.
    """
    a, b = transform(x, scale, items), transform(y, scale, items)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2 or np.ptp(a) == 0:
        raise DataError(
            f"A line needs at least two models with different reference accuracies, got sizes {a.shape} and {b.shape}: "
            f"give more models."
        )
    from scipy.stats import linregress, theilslopes

    if fit not in ("least squares", "theil-sen"):
        raise UsageError(f"fit must be 'least squares' or 'theil-sen', got {fit!r}.")
    line = linregress(a, b) if fit == "least squares" else theilslopes(b, a)
    return Line(float(line[0]), float(line[1]), scale, len(a), items)


def slope_bootstrap(
    x: Any, y: Any, items: int, seed: int, *, scale: Scale = "logit", fit: Fit = "least squares", draws: int = 1000
) -> Interval:
    """Return the slope with its 95 % percentile interval over models.

    Args:
        x: (M,) reference accuracies.
        y: (M,) their other accuracies.
        items: n, as for ``fit_line``.
        seed: of the resampling.
        scale: g.
        fit: as for ``fit_line``.
        draws: resamples; those in which all models have one reference accuracy are left out.

    Raises:
        DataError: as ``fit_line``, or fewer than three models.
    """
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    value = fit_line(a, b, items, scale=scale, fit=fit).slope
    if len(a) < 3:
        raise DataError(f"An interval over models needs at least 3 of them, got {len(a)}.")
    rng, slopes = np.random.default_rng(seed), []
    for _ in range(draws):
        picks = rng.integers(len(a), size=len(a))
        if np.ptp(a[picks]) > 0:
            slopes.append(fit_line(a[picks], b[picks], items, scale=scale, fit=fit).slope)
    return two_sided(value, np.array(slopes))


def correlations(x: Any, y: Any) -> tuple[float, float]:
    """Return Pearson's and Spearman's correlation of (M,) values; NaN below three, or where one side is constant."""
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan"), float("nan")
    from scipy.stats import pearsonr, spearmanr

    return float(pearsonr(a, b).statistic), float(spearmanr(a, b).statistic)
