from __future__ import annotations

import numpy as np
import pytest

from diptych.core import DataError, UsageError
from diptych.metrics.cut import Marks, standard_scores


def drawn(seed: int, queries: int = 40, answers: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw answers that are right with probability 1 / (1 + exp(-1.5 x - b)), b one of each query."""
    rng = np.random.default_rng(seed)
    x, shift = rng.normal(size=(queries, answers)) * 2, rng.normal(size=(queries, 1))
    right = rng.random(x.shape) < 1 / (1 + np.exp(-1.5 * x - shift))
    return x.ravel(), right.ravel(), np.repeat(np.arange(queries), answers)


def test_the_cut_is_the_lowest_whose_share_reaches_the_level() -> None:
    x = np.repeat(np.arange(10.0), 20)  # twenty answers a score; of score s, 2 s are right
    right = np.tile(np.arange(20), 10) < 2 * np.repeat(np.arange(10), 20)
    marks = Marks(x, right, np.tile(np.arange(20), 10))
    cut = marks.cut(0.6)
    # From score 4 on: 2 (4 + 5 + 6 + 7 + 8 + 9) of 120 are right, and one more is wrong.
    assert (cut.threshold, cut.above) == (4.0, 120)
    assert cut.share == pytest.approx(78 / 121)
    assert cut.low < cut.share < cut.high
    assert marks.probabilities(np.array([-1.0, 5.0, 99.0])).tolist() == pytest.approx([0.0, 0.5, 18 / 21])


def test_stated_shares_hold_on_other_queries() -> None:
    within, gaps = [], []
    truth_x, truth, _ = drawn(999, queries=4000)
    for seed in range(40):
        cut = Marks(*drawn(seed)).cut(0.8)
        realised = truth[truth_x >= cut.threshold].mean()
        within.append(cut.low <= realised <= cut.high)
        gaps.append(cut.share - realised)
    assert np.mean(within) >= 0.85
    assert abs(np.mean(gaps)) < 0.02


def skill(p: np.ndarray, right: np.ndarray) -> float:
    """Return the Brier skill score over the base rate."""
    return float(1 - ((p - right) ** 2).mean() / ((right.mean() - right) ** 2).mean())


def test_shuffled_marks_know_nothing_of_other_queries() -> None:
    new_x, new_right, _ = drawn(999, queries=400)
    own, shuffled = [], []
    for seed in range(10):
        x, right, query = drawn(seed)
        own.append(skill(Marks(x, right, query).probabilities(new_x), new_right))
        mixed = Marks(x, np.random.default_rng(seed).permutation(right), query)
        shuffled.append(skill(mixed.probabilities(new_x), new_right))
        with pytest.raises(DataError, match=r"No cut reaches 0\.9|lie above the cut"):
            mixed.cut(0.9)
    # An isotonic fit rises whatever the marks are, and so does the truth: by chance alone a little is right.
    assert min(own) > 0.3
    assert np.mean(shuffled) < 0.2 * np.mean(own)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, r, q: (x, r, q % 3), "3 queries are marked, and a cut needs 20"),
        (lambda x, r, q: (x[::20], r[::20], q[::20]), "answers are marked, and a cut needs 200"),
        (lambda x, r, q: (x, r & (np.arange(len(r)) < 4), q), "right answers are marked"),
        (lambda x, r, q: (x, r | True, q), "0 wrong answers are marked"),
        (lambda x, r, q: (x[:0], r[:0], q[:0]), "0 queries are marked"),
    ],
)
def test_too_few_marks_are_refused_with_what_lacks(change: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Marks(*change(*drawn(0)))  # type: ignore[operator]


def test_levels_that_the_marks_do_not_reach_are_refused() -> None:
    marks = Marks(*drawn(0))
    with pytest.raises(DataError, match=r"surest marked answers are right in a share of|needs 2000 of 5"):
        marks.cut(0.999)
    for level in (0.0, 1.0, 80.0):
        with pytest.raises(UsageError, match="lies in"):
            marks.cut(level)


def test_the_same_marks_give_the_same_interval_and_row_order_does_not_matter() -> None:
    x, right, query = drawn(3)
    order = np.random.default_rng(0).permutation(len(x))
    assert Marks(x, right, query).cut(0.7) == Marks(x, right, query).cut(0.7)
    assert Marks(x[order], right[order], query[order]).cut(0.7) == Marks(x, right, query).cut(0.7)


def test_standard_scores_are_deviations_from_the_background() -> None:
    background = np.array([0.0, 2.0, 4.0])
    assert standard_scores(np.array([2.0, 4.0]), background) == pytest.approx([0.0, 2 / np.std(background)])
    assert np.isfinite(standard_scores(np.array([1.0]), np.ones(5))).all()
