from __future__ import annotations

import numpy as np
import pytest

from diptych.core import DataError, UsageError
from diptych.metrics.cut import STRATA, AbsentScores, Marks, allowed_of


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
        with pytest.raises(UsageError, match="must be in"):
            marks.cut(level)


def test_the_same_marks_give_the_same_interval_and_row_order_does_not_matter() -> None:
    x, right, query = drawn(3)
    order = np.random.default_rng(0).permutation(len(x))
    assert Marks(x, right, query).cut(0.7) == Marks(x, right, query).cut(0.7)
    assert Marks(x[order], right[order], query[order]).cut(0.7) == Marks(x, right, query).cut(0.7)


def test_as_many_absent_words_may_have_an_answer_as_the_binomial_tail_allows() -> None:
    """Oracle: the exact upper end of Clopper and Pearson, from the beta distribution."""
    from scipy.stats import beta

    for words, level in ((29, 0.9), (100, 0.7), (400, 0.5), (400, 0.9)):
        most = allowed_of(words, level)
        upper = [beta.ppf(0.95, k + 1, words - k) for k in (most, most + 1)]
        assert upper[0] <= 1 - level < upper[1]
    assert allowed_of(28, 0.9) == -1


def test_absent_words_raise_the_cut_until_few_of_them_have_an_answer() -> None:
    marks = Marks(*drawn(0))
    best = np.random.default_rng(5).normal(3, 1, size=400)
    absent = AbsentScores((1,), best[:, None])
    for level in (0.5, 0.7, 0.8):
        cut, free = Marks(*drawn(0), absent=absent).cut(level), marks.cut(level)
        assert cut.threshold > free.threshold
        assert (best >= cut.threshold).sum() == allowed_of(400, level)
        assert cut.absent == pytest.approx((best >= cut.threshold).mean())
        assert (cut.words, free.words, free.absent) == (400, 0, None)
        assert cut.share > free.share
    low = AbsentScores((1,), best[:, None] - 100)
    assert Marks(*drawn(0), absent=low).cut(0.7).threshold == marks.cut(0.7).threshold
    with pytest.raises(DataError, match=r"10 nouns are absent from the index, and a cut at 0\.9 needs 29"):
        Marks(*drawn(0), absent=AbsentScores((1,), best[:10, None])).cut(0.9)


def test_the_promise_for_absent_words_holds_on_others_of_the_same_kind() -> None:
    rng, kept = np.random.default_rng(1), []
    for seed in range(30):
        absent = AbsentScores((1,), rng.normal(1, 1, size=(100, 1)))
        cut = Marks(*drawn(seed), absent=absent).cut(0.7)
        kept.append((rng.normal(1, 1, size=2000) >= cut.threshold).mean() <= 0.3)
    assert np.mean(kept) >= 0.85


def test_absent_words_lower_what_an_answer_is_likely_to_be_worth() -> None:
    ranks = (1, 2, 5, 10, 20)
    false = -np.sort(-np.random.default_rng(2).normal(2, 1, size=(300, 5)), axis=1)
    plain, wary = Marks(*drawn(0)), Marks(*drawn(0), absent=AbsentScores(ranks, false))
    at = np.linspace(-2, 4, 13)
    assert (wary.probabilities(at) <= plain.probabilities(at) + 1e-9).all()
    assert wary.probabilities(np.array([2.0]))[0] < 0.8 * plain.probabilities(np.array([2.0]))[0]
    assert len(wary.probabilities(np.zeros(0))) == 0


def ranked(seed: int, queries: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Scores of 200 answers of each query, descending, and whether they are right: ever fewer, at one score too."""
    rng = np.random.default_rng(seed)
    score = -np.sort(-rng.normal(size=(queries, 200)) - rng.normal(size=(queries, 1)), axis=1)
    right = rng.random(score.shape) < 1 / (1 + np.exp(3 - 2.5 * score)) * np.where(np.arange(200) < 20, 1, 0.4)
    return score, right


def test_marks_of_a_sample_stand_for_all_answers_down_to_the_depth() -> None:
    score, right = ranked(0)
    rng, rows = np.random.default_rng(0), []
    for q in range(len(score)):
        ranks = [
            *range(1, 21),
            *(1 + rng.choice(np.arange(20, 50), 6, False)),
            *(1 + rng.choice(np.arange(50, 200), 10, False)),
        ]
        rows += [(score[q, r - 1], right[q, r - 1], q, r) for r in ranks]
    s, y, q, r = (np.array(column) for column in zip(*rows, strict=True))
    marks = Marks(s, y.astype(bool), q, r)
    assert marks.depth > 150
    assert marks.weight.sum() == pytest.approx(len(score) * marks.depth)
    other, truth = ranked(1, queries=600)
    for depth in STRATA:
        cut = marks.cut(0.5, depth=depth)
        assert cut.depth == min(depth, marks.depth)
        above = other[:, : cut.depth] >= cut.threshold
        assert cut.low <= truth[:, : cut.depth][above].mean() <= cut.high
    first = Marks(s[r <= 20], y[r <= 20].astype(bool), q[r <= 20], r[r <= 20])
    assert first.cut(0.5, depth=200).depth == first.depth == 20
    above = other >= first.cut(0.5).threshold
    assert truth[above].mean() < first.cut(0.5).low  # what was promised at any depth before
