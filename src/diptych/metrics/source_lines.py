"""Lines of the models of data sources, and how far the models of one source lie above the line of another.

    ER = y - g^{-1}( b0 + b1 g(x) )

x, y: accuracies of a model on a reference set and under a shift
b0, b1: intercept and slope of the other source's line;  g: the probit

Source: Nguyen et al. 2022, "Quality Not Quantity"; Taori et al. 2020 (effective robustness).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.metrics.interval import Interval, two_sided
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


def robustness(base: Points, other: Points, items: int) -> float:
    """Return the mean effective robustness of models over the line of the base source, in fractions of accuracy."""
    return float(base.line(items).residual(other.x, other.y).mean())


def gap(base: Points, first: Points, second: Points, items: int) -> float:
    """Return the mean effective robustness of the first models, less that of the second; one line for both."""
    line = base.line(items)
    return float(line.residual(first.x, first.y).mean() - line.residual(second.x, second.y).mean())


def over_models(
    statistic: Callable[..., float], groups: Sequence[Points], items: int, seed: int, draws: int
) -> Interval:
    """Return a statistic of groups of models with its 95 % percentile interval; models are resampled in each group.

    Args:
        statistic: takes the groups and ``items``.
        groups: the first is that whose line is fitted.
        items: test items behind each accuracy.
        seed: of the resampling.
        draws: resamples; those in which the first group has one reference accuracy are left out.
    """
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(draws):
        picked = [group.take(rng.integers(len(group), size=len(group))) for group in groups]
        if not picked[0].lacks_line(items, 2):
            drawn.append(statistic(*picked, items))
    return two_sided(statistic(*groups, items), np.array(drawn))
