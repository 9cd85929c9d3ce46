"""A cut in a ranking that means something: the expected share of right answers above it, and how often a query for
something that is not there has an answer.

    p     = isotonic regression of right_i on s_i        over the marked answers, and one more that is wrong, at the top
    t1(a) = the lowest s with   mean of p over the marked answers at or above s  >=  a
    t2(a) = the lowest t with   P(Binomial(m, 1 - a) <= #{j: b_j >= t})  <=  0.05
    t(a)  = max(t1(a), t2(a))

s_i: cosine of a marked answer;  right_i: 1 where people, a caption or a label say that the answer is right, else 0
b_j: cosine of the best answer to the j-th of m words for things that are absent;  a: wanted share of right answers
t(a): the cut. At most 1 - a of absent words like the m have an answer above it, with a confidence of 95 % (t2 is a
one-sided tolerance limit, Wilks 1941), and a share a of the answers to queries like the marked ones is right, on
average.

Marks thin out below the first answers: a marked answer of rank r counts for all answers of its query in the same of
``STRATA``, over the number of marked ones. Nothing is stated below the depth that is marked. The wrong answer at the
top keeps a few lucky marks from promising 1. Several queries' answers above the cut weigh by their number.

How far a score stands out among all entries for its query (the standard score) orders the answers of one query as the
cosine does. It says little about whether the thing is there at all: ``results/cut-features.json`` compares both, and
others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
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
STRATA = (20, 50, 200)
"""Last rank of each stratum of answers."""
DOUBT = 0.05
"""Probability that more absent words have an answer than a cut allows."""


@dataclass(frozen=True)
class Cut:
    """A cut and what it promises.

    Args:
        level: the wanted share of right answers.
        threshold: the cut, a score.
        share: share of right answers among those at or above it, with one more that is wrong.
        low, high: ends of its 95 % interval, over queries.
        above: marked answers at or above it.
        marks, queries: marked answers and queries in all.
        depth: the rank down to which answers are marked; below it nothing is stated.
        absent: share of absent words that have an answer; None where no words were drawn.
        words: number of absent words.
    """

    level: float
    threshold: float
    share: float
    low: float
    high: float
    above: int
    marks: int
    queries: int
    depth: int
    absent: float | None = None
    words: int = 0


@dataclass(frozen=True)
class AbsentScores:
    """Scores of answers to words for things that are absent, all of them wrong.

    Args:
        ranks: (r,) ascending ranks, the first of them 1.
        scores: (m, r) score of the answer of each rank, descending.
    """

    ranks: tuple[int, ...]
    scores: Floats

    def lowest(self, level: float) -> float:
        """Return the lowest cut above which at most a share 1 - level of such words has an answer, with a confidence
        of 95 %.

        Raises:
            DataError: they are too few for this level.
        """
        allowed = allowed_of(len(self.scores), level)
        if allowed < 0:
            least = math.ceil(math.log(DOUBT) / math.log(level))
            raise DataError(
                f"{len(self.scores)} nouns are absent from the index, and a cut at {level:g} needs {least}: ask for "
                f"less."
            )
        return float(np.nextafter(np.sort(self.scores[:, 0])[::-1][allowed], np.inf))


@lru_cache(maxsize=256)
def allowed_of(words: int, level: float) -> int:
    """Return how many of some absent words may have an answer, so that at most a share 1 - level of all such words has
    one, with a confidence of 95 %; -1 where none may, and that is not enough.

    Source: S. S. Wilks, "Determination of Sample Sizes for Setting Tolerance Limits", 1941.

    Example:
        >>> [allowed_of(words, 0.9) for words in (28, 29, 400)]
        [-1, 0, 29]
    """
    from scipy.special import bdtr

    return int((bdtr(np.arange(words + 1), words, 1 - level) <= DOUBT).sum()) - 1


class Marks:
    """Marked answers, ready to be cut.

    Args:
        score: (n,) scores.
        right: (n,) bool.
        query: (n,) number of the query of each.
        rank: (n,) rank of each among the answers to its query, from 1; None: all are among the first.
        absent: scores of absent words; None: none were drawn.
        entries: of the index, where it has fewer than the deepest rank.
        stands_for: (n,) number of answers of its query that a mark stands for, which was drawn from those of the first
            stratum at or above the floor; nan: ranks tell.
        floor: score below which such marks tell nothing, so that no cut lies below it.

    Raises:
        DataError: they are too few; the message says what is lacking.
    """

    def __init__(
        self, score: Floats, right: NDArray[np.bool_], query: NDArray[np.int64], rank: NDArray[np.int64] | None = None,
        absent: AbsentScores | None = None, entries: int = STRATA[-1], stands_for: Floats | None = None,
        floor: float = -np.inf,
    ) -> None:  # fmt: skip
        self.absent, self.floor = absent, floor
        self.score, self.right = np.asarray(score, dtype=np.float64), np.asarray(right, dtype=bool)
        self.query = np.unique(query, return_inverse=True)[1].astype(np.int64)
        self.rank = np.ones(len(self.score), dtype=np.int64) if rank is None else np.asarray(rank, dtype=np.int64)
        self.queries = int(self.query.max()) + 1 if len(self.query) else 0
        good = int(self.right.sum())
        for count, least, what in (
            (self.queries, LEAST_QUERIES, "queries"),
            (len(self.score), LEAST_MARKS, "answers"),
            (good, LEAST_OF_A_KIND, "right answers"),
            (len(self.score) - good, LEAST_OF_A_KIND, "wrong answers"),
        ):
            if count < least:
                raise DataError(f"{count} {what} are marked, and a cut needs {least}: mark more.")
        deepest = np.zeros(self.queries, dtype=np.int64)
        drawn = np.zeros(len(self.score), dtype=bool) if stands_for is None else np.isfinite(stands_for)
        np.maximum.at(deepest, self.query, np.where(drawn, STRATA[0], np.minimum(self.rank, STRATA[-1])))
        reach = int(np.sort(deepest)[::-1][LEAST_QUERIES - 1])
        self.depth = STRATA[0] if rank is None else min(reach, entries)
        self.weight = self._weights(np.array([min(end, self.depth) for end in STRATA]))
        if rank is None:
            self.weight = np.ones(len(self.score))
        if stands_for is not None:
            self.weight[drawn] = stands_for[drawn]
            self._strata[self.query[drawn], 0] = True

    def _weights(self, ends: NDArray[np.int64]) -> Floats:
        """Return (n,) the number of answers that each mark stands for; 0 below the depth."""
        sizes = np.diff(ends, prepend=0)
        stratum = np.searchsorted(np.array(STRATA), self.rank)
        inside = (self.rank <= self.depth) & (stratum < len(STRATA))
        key = self.query * len(STRATA) + np.minimum(stratum, len(STRATA) - 1)
        counts = np.bincount(key[inside], minlength=self.queries * len(STRATA))
        self._strata = counts.reshape(self.queries, len(STRATA)) > 0
        weight = np.zeros(len(self.rank))
        weight[inside] = sizes[stratum[inside]] / counts[key[inside]]
        return weight

    def _first(self, depth: int | None) -> tuple[NDArray[np.bool_], int]:
        """Return which marks are among the first answers, and how many answers these are: queries without marks in
        each of their strata are left out.
        """
        reach = self.depth if depth is None else min(depth, self.depth)
        strata = 1 + int(np.searchsorted(np.array(STRATA), reach))
        whole = np.asarray(self._strata[:, :strata].all(axis=1))
        return (self.rank <= reach) & whole[self.query], reach

    def probabilities(self, score: Floats) -> Floats:
        """Return (k,) probabilities that answers with these scores are right, as if half of all queries were for
        things that are not there (without absent words: as if none were).
        """
        from sklearn.isotonic import IsotonicRegression

        if not len(score):
            return np.zeros(0)
        first, reach = self._first(None)
        x, y, weight = self.score[first], self.right[first], self.weight[first]
        if self.absent is not None:
            ranks = np.array([r for r in self.absent.ranks if r <= reach])
            false = self.absent.scores[:, : len(ranks)]
            wrong = np.broadcast_to(np.diff(ranks, prepend=0), false.shape).ravel()
            keep = np.isfinite(false.ravel())
            wrong = wrong[keep] * (weight.sum() / wrong[keep].sum())
            x, y = np.append(x, false.ravel()[keep]), np.append(y, np.zeros(int(keep.sum()), dtype=bool))
            weight = np.append(weight, wrong)
        curve: Any = IsotonicRegression(out_of_bounds="clip")
        curve.fit(np.append(x, x.max()), np.append(y, False).astype(np.float64), np.append(weight, 1.0))
        return np.asarray(curve.predict(np.asarray(score, dtype=np.float64)), dtype=np.float64)

    def cut(self, level: float, *, depth: int | None = None, seed: int = 0) -> Cut:
        """Return the lowest cut above which an answer is right with the wanted probability in (0, 1), on average, and
        absent words rarely have one.

        Args:
            level: the wanted share of right answers.
            depth: answers of each query that are looked at; None: all that are marked.
            seed: of the bootstrap and the folds.

        Raises:
            UsageError: a level outside (0, 1).
            DataError: the marks do not reach the level, too few of them do, or not where queries are left out.
        """
        if not 0 < level < 1:
            raise UsageError(f"A share of right answers must be in (0, 1), such as 0.8, got {level:g}.")
        first, reach = self._first(depth)
        threshold, best = _lowest(self.score[first], self.right[first], self.weight[first], level)
        if threshold is None:
            raise DataError(
                f"No cut reaches {level:g} here: the surest marked answers are right in a share of {best:.2f}. Ask for "
                f"less, or mark more answers."
            )
        floor = self.floor if self.absent is None else max(self.floor, self.absent.lowest(level))
        threshold = max(threshold, floor)
        above = first & (self.score >= threshold)
        least, queries = math.ceil(round(2 / (1 - level), 9)), len(np.unique(self.query[above]))
        if above.sum() < least or queries < LEAST_ABOVE:
            raise DataError(
                f"{int(above.sum())} marked answers of {queries} queries lie above the cut at {level:g}, and it needs "
                f"{least} of {LEAST_ABOVE}: mark more, or ask for less."
            )
        share, low, high = self._interval(above, seed)
        reached, left_out = self._left_out(first, floor, level, seed)
        if reached < FOLDS or left_out < low:
            raise DataError(
                f"A cut at {level:g} does not hold where it is checked on queries that are left out ({reached} of "
                f"{FOLDS} parts reach it, {left_out:.2f} are right): mark more, or ask for less."
            )
        absent, words = None, 0
        if self.absent is not None:
            absent, words = float((self.absent.scores[:, 0] >= threshold).mean()), len(self.absent.scores)
        return Cut(
            level, threshold, share, low, high, int(above.sum()), len(self.score), self.queries, reach, absent, words
        )

    def _left_out(self, first: NDArray[np.bool_], floor: float, level: float, seed: int) -> tuple[int, float]:
        """Return how many of ``FOLDS`` parts of the queries get a cut from the others, and the share right above it
        there: a level that is reached by luck alone is not reached again.
        """
        fold = np.random.default_rng(seed).permutation(self.queries)[self.query] % FOLDS
        reached, shown, right = 0, 0.0, 0.0
        for k in range(FOLDS):
            seen = first & (fold != k)
            threshold, _ = _lowest(self.score[seen], self.right[seen], self.weight[seen], level)
            if threshold is not None:
                above = first & (fold == k) & (self.score >= max(threshold, floor))
                reached, shown = reached + 1, shown + float(self.weight[above].sum())
                right += float(self.weight[above & self.right].sum())
        return reached, right / shown if shown else 0.0

    def _interval(self, above: NDArray[np.bool_], seed: int) -> tuple[float, float, float]:
        """Return the share right above a cut and its 95 % interval: a bootstrap of queries, whose answers depend on
        each other, with one more wrong answer for the lower end and one more right answer for the upper end.
        """
        good = above & self.right
        shown = np.bincount(self.query[above], self.weight[above], minlength=self.queries)
        right = np.bincount(self.query[good], self.weight[good], minlength=self.queries)
        counts = by_count(np.random.default_rng(seed), DRAWS, self.queries)
        totals, rights = counts @ shown, counts @ right
        some = totals > 0
        low = float(np.quantile(rights[some] / (totals[some] + 1), 0.025))
        high = float(np.quantile((rights[some] + 1) / (totals[some] + 1), 0.975))
        return float(right.sum() / (shown.sum() + 1)), low, high


def _lowest(score: Floats, right: NDArray[np.bool_], weight: Floats, level: float) -> tuple[float | None, float]:
    """Return the lowest score above which the fitted share reaches a level, and the largest share of all."""
    from sklearn.isotonic import isotonic_regression

    order = np.argsort(-score, kind="stable")
    down = score[order]
    starts = np.flatnonzero(np.append(True, down[1:] < down[:-1]))  # a cut takes all answers of one score
    weights = np.add.reduceat(weight[order], starts)
    good = np.add.reduceat((weight * right)[order], starts)
    padded = weights.copy()
    padded[0] += 1  # one more that is wrong, at the top
    p = isotonic_regression(good / padded, sample_weight=padded, increasing=False)
    means = np.cumsum(weights * p) / np.cumsum(weights)
    reached = np.flatnonzero(means >= level)
    return (float(down[starts[reached[-1]]]) if len(reached) else None), float(means.max())
