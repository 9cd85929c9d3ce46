"""A cut in a ranking that means something: the expected share of right answers above it.

    x_i   = (s_i - mean) / std                       how far a score stands out among all entries, for its query
    p     = isotonic regression of right_i on x_i    over the marked answers, and one more that is wrong, at the top
    t(a)  = the lowest x with   mean of p over the marked answers at or above x  >=  a

s_i: score of a marked answer;  mean, std: of the scores of all entries for the same query
right_i: 1 where people, a caption or a label say that the answer is right, else 0
a: wanted share of right answers;  t(a): the cut

Raw cosines of two queries are not comparable, and their distance from what the index scores in general is more so.
The cut is one number for all queries, which decides on an answer by its own x alone. So the share holds on average
over answers to queries like the marked ones, not for each query: one with many marked answers weighs more. The wrong
answer at the top keeps a few lucky marks from promising 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, UsageError
from diptych.metrics.interval import by_count

Floats = NDArray[np.float64]
LEAST_QUERIES, LEAST_MARKS, LEAST_OF_A_KIND = 20, 200, 5
"""Marked queries, marked answers, and right and wrong ones among them, below which no cut is fitted (our choice).

In simulations (``python -m benchmarks.cut_least``, ``results/cut-least.json``) the interval of a cut at 0.9 from 10
queries lies above the truth in 5 to 9 of 100 sets of 100 or 200 marks, where 2.5 are promised; from 20 queries in 1 to
5 of 100 sets of 100 to 400, on backbones that reach 0.9.
"""
LEAST_ABOVE = 5
"""Queries that must have a marked answer above a cut (our choice)."""
FOLDS = 5
"""Parts of the queries, each of which is left out once to check a cut (our choice)."""
DRAWS = 1000


@dataclass(frozen=True)
class Cut:
    """A cut and what it promises.

    Args:
        level: the wanted share of right answers.
        threshold: the cut, in standard scores.
        share: share of right answers among the marked ones at or above it, with one more that is wrong.
        low, high: ends of its 95 % interval, over queries.
        above: marked answers at or above it.
        marks, queries: marked answers and queries in all.
    """

    level: float
    threshold: float
    share: float
    low: float
    high: float
    above: int
    marks: int
    queries: int


def standard_scores(scores: NDArray[np.floating], background: NDArray[np.floating]) -> Floats:
    """Return how many standard deviations scores stand above those of the whole index, for one query.

    Args:
        scores: (k,) of the answers.
        background: (n,) of a sample of all entries, n at least 2.
    """
    values = background.astype(np.float64)
    return np.asarray((scores.astype(np.float64) - values.mean()) / max(float(values.std()), 1e-12))


class Marks:
    """Marked answers, ready to be cut.

    Args:
        x: (n,) standard scores.
        right: (n,) bool.
        query: (n,) number of the query of each.

    Raises:
        DataError: they are too few; the message says what is lacking.
    """

    def __init__(self, x: Floats, right: NDArray[np.bool_], query: NDArray[np.int64]) -> None:
        self.x, self.right = np.asarray(x, dtype=np.float64), np.asarray(right, dtype=bool)
        self.query = np.unique(query, return_inverse=True)[1].astype(np.int64)
        self.queries = int(self.query.max()) + 1 if len(self.query) else 0
        good = int(self.right.sum())
        for count, least, what in (
            (self.queries, LEAST_QUERIES, "queries"),
            (len(self.x), LEAST_MARKS, "answers"),
            (good, LEAST_OF_A_KIND, "right answers"),
            (len(self.x) - good, LEAST_OF_A_KIND, "wrong answers"),
        ):
            if count < least:
                raise DataError(f"{count} {what} are marked, and a cut needs {least}: mark more.")
        self._curve = _isotonic(np.append(self.x, self.x.max()), np.append(self.right, False))

    def probabilities(self, x: Floats) -> Floats:
        """Return (k,) probabilities that answers with these standard scores are right."""
        return np.asarray(self._curve.predict(x), dtype=np.float64) if len(x) else np.zeros(0)

    def cut(self, level: float, *, seed: int = 0) -> Cut:
        """Return the lowest cut above which an answer is right with the wanted probability in (0, 1), on average.

        Raises:
            UsageError: a level outside (0, 1).
            DataError: the marks do not reach the level, too few of them do, or not where queries are left out.
        """
        if not 0 < level < 1:
            raise UsageError(f"A share of right answers lies in (0, 1), such as 0.8, not at {level:g}.")
        threshold, best = _lowest(self.x, self.right, level)
        if threshold is None:
            raise DataError(
                f"No cut reaches {level:g} here: the surest marked answers are right in a share of {best:.2f}. Ask for "
                f"less, or mark more answers."
            )
        above = self.x >= threshold
        least, queries = math.ceil(round(2 / (1 - level), 9)), len(np.unique(self.query[above]))
        if above.sum() < least or queries < LEAST_ABOVE:
            raise DataError(
                f"{int(above.sum())} marked answers of {queries} queries lie above the cut at {level:g}, and it needs "
                f"{least} of {LEAST_ABOVE}: mark more, or ask for less."
            )
        share, low, high = self._interval(above, seed)
        reached, left_out = self._left_out(level, seed)
        if reached < FOLDS or left_out < low:
            raise DataError(
                f"A cut at {level:g} does not hold where it is checked on queries that are left out ({reached} of "
                f"{FOLDS} parts reach it, {left_out:.2f} are right): mark more, or ask for less."
            )
        return Cut(level, threshold, share, low, high, int(above.sum()), len(self.x), self.queries)

    def _left_out(self, level: float, seed: int) -> tuple[int, float]:
        """Return how many of ``FOLDS`` parts of the queries get a cut from the others, and the share right above it
        there: a level that is reached by luck alone is not reached again.
        """
        fold = np.random.default_rng(seed).permutation(self.queries)[self.query] % FOLDS
        reached, shown, right = 0, 0, 0
        for k in range(FOLDS):
            threshold, _ = _lowest(self.x[fold != k], self.right[fold != k], level)
            if threshold is not None:
                above = (fold == k) & (self.x >= threshold)
                reached, shown, right = reached + 1, shown + int(above.sum()), right + int(self.right[above].sum())
        return reached, right / shown if shown else 0.0

    def _interval(self, above: NDArray[np.bool_], seed: int) -> tuple[float, float, float]:
        """Return the share right above a cut and its 95 % interval: a bootstrap of queries, whose answers depend on
        each other, with one more wrong answer for the lower end and one more right answer for the upper end.
        """
        shown = np.bincount(self.query[above], minlength=self.queries).astype(np.float64)
        right = np.bincount(self.query[above & self.right], minlength=self.queries).astype(np.float64)
        counts = by_count(np.random.default_rng(seed), DRAWS, self.queries)
        totals, rights = counts @ shown, counts @ right
        some = totals > 0
        low = float(np.quantile(rights[some] / (totals[some] + 1), 0.025))
        high = float(np.quantile((rights[some] + 1) / (totals[some] + 1), 0.975))
        return float(right.sum() / (shown.sum() + 1)), low, high


def _lowest(x: Floats, right: NDArray[np.bool_], level: float) -> tuple[float | None, float]:
    """Return the lowest standard score above which the fitted share reaches a level, and the largest share of all."""
    order = np.argsort(-x, kind="stable")
    down = x[order]
    p = _isotonic(np.append(x, x.max()), np.append(right, False)).predict(down)
    means = np.cumsum(p) / np.arange(1, len(p) + 1)
    last = np.flatnonzero(np.append(down[1:] < down[:-1], True))  # a cut takes all answers of one score
    reached = last[means[last] >= level]
    return (float(down[reached[-1]]) if len(reached) else None), float(means[last].max())


def _isotonic(x: Floats, y: NDArray[np.bool_]) -> Any:
    from sklearn.isotonic import IsotonicRegression

    return IsotonicRegression(out_of_bounds="clip").fit(x, y.astype(np.float64))
