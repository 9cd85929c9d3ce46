"""Lines of the models of data sources, and how far the models of one source lie above the line of another.

    ER = y - g^{-1}( b0 + b1 g(x) )

x, y: accuracies of a model on a reference set and under a shift
b0, b1: intercept and slope of the other source's line;  g: the probit

Source: Nguyen et al. 2022, "Quality Not Quantity"; Taori et al. 2020 (effective robustness).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError
from diptych.metrics.agreeing import ALIKE
from diptych.metrics.estimate import Interval
from diptych.metrics.trend import Line, fit_line, transform

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """Accuracies of the M models of one source.

    Args:
        x: (M,) on the reference table.
        y: (M,) under a shift.
    """

    x: Floats
    y: Floats

    def __len__(self) -> int:
        return len(self.x)

    def take(self, picks: Any) -> Points:
        """Return some of the models."""
        return Points(self.x[picks], self.y[picks])

    def within(self, base: Points) -> Points:
        """Return the models whose reference accuracy another source's range holds: elsewhere its line extrapolates."""
        return self.take((self.x >= base.x.min()) & (self.x <= base.x.max()))

    def halves(self) -> tuple[Points, Points]:
        """Return every other model in the order of reference accuracy, and the rest."""
        order = np.argsort(self.x, kind="stable")
        return self.take(order[::2]), self.take(order[1::2])

    def line(self, items: int) -> Line:
        """Return the line on the probit scale; see ``metrics.trend.fit_line``."""
        return fit_line(self.x, self.y, items, scale="probit")

    def lacks_line(self, items: int, least: int) -> str:
        """Return why there is no line, in one sentence; "" where there is one."""
        if len(self) < least:
            return too_few(len(self), least)
        if np.ptp(transform(self.x, "probit", items)) == 0:
            return "All models of this source have one reference accuracy: give models of other sizes."
        return ""


def too_few(models: int, least: int) -> str:
    """Return why so many models make no line."""
    return f"A line needs {least} models of one source, got {models}: give more."


def robustness(base: Points, models: Points, items: int, less: Points | None = None) -> Interval:
    """Return the mean effective robustness of models over the line of the base source, with its 95 % interval.

        variance = s^2 c^T (X^T X)^-1 c + v / M (+ v' / M')

    s^2: variance of the base models about their line, on the probit scale;  X: (N, 2) ones and g(x) of the base models
    c: (2,) derivative of the mean by intercept and slope;  v, v': variances of the ER of the models, and of ``less``

    The interval is Student's with the degrees of freedom of Welch and Satterthwaite, over models: the test items are
    held. Where sources do not differ it holds 0 in 95 to 97 % of runs from 5 models on, and in 97 to 99 % with 3 or 4.

    Args:
        base: at least 3 models.
        models: at least 2.
        items: test items behind each accuracy.
        less: models whose mean is subtracted, at least 2; None: 0.

    Returns:
        In fractions of accuracy.

    Raises:
        DataError: there are fewer models.

    Source: Welch 1947; the first term is the delta method.

    Example:
        >>> a = Points(np.array([0.4, 0.5, 0.6, 0.7]), np.array([0.41, 0.49, 0.61, 0.69]))
        >>> ends = robustness(a, Points(a.x, a.y + 0.1), items=100)
        >>> f"{ends.value:.2f}, {ends.low:.2f} to {ends.high:.2f}"
        '0.10, 0.08 to 0.12'
    """
    from scipy.stats import norm, t

    counts = len(base), len(models), 2 if less is None else len(less)
    if counts[0] < 3 or min(counts) < 2:
        raise DataError(
            f"It takes 3 models on the line and 2 beside it, got {counts[0]} and {min(counts[1:])}: give more."
        )
    line = base.line(items)
    x = _design(base.x, items)
    about = transform(base.y, "probit", items) - x @ [line.intercept, line.slope]
    value, slope, parts = 0.0, np.zeros(2), list[tuple[float, int]]()
    for sign, group in ((1.0, models), (-1.0, less)):
        if group is not None:
            z, over = _design(group.x, items), line.residual(group.x, group.y)
            value += sign * float(over.mean())
            slope += sign * (norm.pdf(z @ [line.intercept, line.slope])[:, None] * z).mean(axis=0)
            parts.append((float(over.var(ddof=1)) / len(group), len(group) - 1))
    spread = float(about @ about) / (len(base) - 2)
    parts.append((spread * float(slope @ np.linalg.solve(x.T @ x, slope)), len(base) - 2))
    variance = sum(v for v, _ in parts)
    if not variance > ALIKE**2:  # models on one line do not tell how far others lie off
        return Interval(value, -math.inf, math.inf)
    degrees = variance**2 / sum(v * v / d for v, d in parts)
    half = float(t.ppf(0.975, degrees)) * variance**0.5
    return Interval(value, value - half, value + half)


def _design(x: Floats, items: int) -> Floats:
    """Return (N, 2) ones and probits of (N,) accuracies."""
    g = transform(x, "probit", items)
    return np.stack([np.ones_like(g), g], axis=1)
