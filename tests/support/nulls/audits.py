"""Laws of intervals that audits and searches print, in the table of ``tests.support.nulls.simulations``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from diptych.core import DataError, Run
from diptych.metrics.axes.calibration import error_interval
from diptych.metrics.axes.factors import beyond_interval, worst_beyond_mean
from diptych.metrics.closed_intervals import apart, t_mean
from diptych.metrics.cut import Marks
from diptych.metrics.pair_mean import pair_mean
from diptych.metrics.ratio import clustered_wilson
from diptych.metrics.source_lines import Points, robustness
from diptych.metrics.trend import expected_interval, fit_line, slope_interval
from tests.support.nulls.cells import RUNS, Cell, holds

Floats = NDArray[np.float64]
LINE = (0.8, -0.3)
"""Slope and intercept of a family of models on the probit scale."""
ANSWERS = 20
"""Answers of a query."""


def pairs(
    rng: np.random.Generator, items: int, count: int, shares: tuple[float, float]
) -> tuple[Floats, NDArray[np.int64]]:
    """Return (M,) hits of expected share 1/2 and the (M, 2) items that they join.

    Of the variance behind a hit, ``shares`` belong to the first and to the second item.
    """
    drawn = rng.integers(items, size=(3 * count, 2))
    joined = np.unique(drawn[drawn[:, 0] != drawn[:, 1]], axis=0)
    joined = joined[rng.permutation(len(joined))[:count]]
    first, second = rng.normal(size=(2, items)) * np.sqrt(shares)[:, None]
    rest = np.sqrt(1 - sum(shares)) * rng.normal(size=len(joined))
    return (first[joined[:, 0]] + second[joined[:, 1]] + rest > 0).astype(np.float64), joined


def family(rng: np.random.Generator, models: int) -> Points:
    """Return models that lie about one line."""
    x = rng.uniform(0.45, 0.8, models)
    return Points(x, ndtr(LINE[0] * ndtri(x) + LINE[1] + 0.05 * rng.standard_normal(models)))


def answers(rng: np.random.Generator, queries: int) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]:
    """Return the score of each answer, whether it is right, and its query; some queries have more right answers."""
    query = np.repeat(np.arange(queries), ANSWERS)
    score = rng.random(len(query))
    ease = rng.normal(size=queries)[query]
    return score, ndtr(ndtri(np.clip(1.2 * score - 0.05, 0.01, 0.99)) + 0.5 * ease) > rng.random(len(query)), query


@cache
def right_above() -> tuple[Floats, Floats]:
    """Return scores, ascending, and the share of very many answers at or above each that is right."""
    score, right, _ = answers(np.random.default_rng(0), 20_000)
    order = np.argsort(-score)
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    return score[order][::-1], share[::-1]


def _pairs(items: int, count: int, shares: tuple[float, float], rng: np.random.Generator, run: int) -> bool:
    return holds(pair_mean(*pairs(rng, items, count, shares)), 0.5)


def _captions(pictures: int, rng: np.random.Generator, run: int) -> bool:
    cases = np.full(pictures, 5)
    return holds(
        clustered_wilson(np.stack([cases, rng.binomial(5, rng.beta(1.4, 0.6, pictures))], -1).astype(float)), 0.7
    )


def _slope(models: int, rng: np.random.Generator, run: int) -> bool:
    own = family(rng, models)
    return holds(slope_interval(own.x, own.y, 500, scale="probit"), LINE[0])


def _expected(models: int, rng: np.random.Generator, run: int) -> bool:
    own, further = family(rng, models), family(rng, 1)
    line = fit_line(own.x, own.y, 500, scale="probit")
    return holds(expected_interval(line, own.x, own.y, float(further.x[0])), float(further.y[0]))


def _robust(models: int, rng: np.random.Generator, run: int) -> bool:
    return holds(robustness(family(rng, models), family(rng, models), 500), 0.0)


def _apart(units: int, rng: np.random.Generator, run: int) -> bool:
    return holds(apart(t_mean(rng.normal(0.5, 0.3, units)), t_mean(rng.normal(0.2, 0.1, units))), 0.3)


def _worst(items: int, rng: np.random.Generator, run: int) -> bool:
    hits = rng.normal(size=items) + rng.normal(size=(10, items)) < 0.7
    first = rng.permutation(items) < items // 2
    return holds(beyond_interval(worst_beyond_mean(hits, first), first, run), 0.0)


def _error(items: int, off: float, rng: np.random.Generator, run: int) -> bool:
    confidence = rng.uniform(0.4, 0.95, items)
    _, low, high = error_interval(confidence, rng.random(items) < confidence - off, Run(seed=run))
    return holds((low, high), off)


def _cut(queries: int, level: float, rng: np.random.Generator, run: int) -> bool:
    """Tell whether the interval of a cut holds the share right above it; a cut that is refused promises none."""
    try:
        cut = Marks(*answers(rng, queries)).cut(level, seed=run)
    except DataError:
        return True
    scores, share = right_above()
    return holds((cut.low, cut.high), float(share[min(np.searchsorted(scores, cut.threshold), len(share) - 1)]))


def cells() -> Iterator[Cell]:
    """Yield the rows."""
    for shares in ((0.0, 0.0), (0.6, 0.0), (0.4, 0.4)):
        law = (
            f"hits, {100 * shares[0]:g} and {100 * shares[1]:g} % of their variance is of the first and second picture"
        )
        for items, count in ((20, 100), (60, 300), (200, 300), (500, 300)):
            yield Cell("mean of pairs that share pictures", law, 1, items, partial(_pairs, items, count, shares))
    for pictures in (20, 50, 200):
        yield Cell(
            "recall of captions", "5 captions per picture, 0.7", 1, pictures, partial(_captions, pictures), 5 * RUNS
        )
    for models in (3, 4, 6, 15):
        yield Cell("slope over models", "a line on the probit scale", 1, models, partial(_slope, models))
        yield Cell(
            "effective robustness of a model", "a further model of the family", 1, models, partial(_expected, models)
        )
        yield Cell("effective robustness of a source", "two sources on one line", 1, models, partial(_robust, models))
    for units in (5, 20, 100):
        yield Cell("difference of two intervals", "normal, of two spreads", 1, units, partial(_apart, units), 2 * RUNS)
    for items in (50, 200):
        yield Cell("worst factor", "ten factors that are alike", 1, items, partial(_worst, items))
    for off in (0.0, 0.1):
        for items in (30, 100, 400):
            law = f"probabilities that are {100 * off:g} points too high"
            yield Cell("calibration error of an audit", law, 1, items, partial(_error, items, off), RUNS // 2)
    for queries in (40, 100):
        run = partial(_cut, queries, 0.8)
        yield Cell("share right above a cut", "20 answers a query, level 0.8", 1, queries, run, RUNS // 4)
