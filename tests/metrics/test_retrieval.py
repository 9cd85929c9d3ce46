from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score

from diptych.core import DataError, UsageError
from diptych.metrics.retrieval import (
    average_precision,
    b_cubed,
    class_precision,
    f1_threshold,
    first_ranks,
    group_ranks,
    match_threshold,
    median_rank,
    recall_at,
)


def drawn(n: int = 40, m: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    scores, relevant = rng.standard_normal((n, m)), rng.random((n, m)) < 0.1
    relevant[np.arange(n), rng.integers(m, size=n)] = True
    return scores, relevant


def test_without_ties_all_agree_with_torchmetrics_and_scikit_learn() -> None:
    from torchmetrics.functional.retrieval import retrieval_hit_rate

    scores, relevant = drawn()
    ap, ranks = average_precision(scores, relevant), first_ranks(scores, relevant)
    for s, r, found, rank in zip(scores, relevant, ap, ranks, strict=True):
        assert found == pytest.approx(average_precision_score(r, s))
        for k in (1, 5, 10):
            assert (rank <= k) == bool(retrieval_hit_rate(torch.tensor(s), torch.tensor(r), top_k=k))


@given(arrays(np.int8, (3, 6), elements=st.integers(0, 3)), arrays(np.bool_, (3, 6)))
def test_ties_count_against_the_system_as_a_loop_says(values: np.ndarray, relevant: np.ndarray) -> None:
    relevant[:, 2] = True
    scores = values.astype(np.float64)
    for s, r, found, rank in zip(
        scores, relevant, average_precision(scores, relevant), first_ranks(scores, relevant), strict=True
    ):
        order = sorted(range(6), key=lambda i: (-s[i], r[i]))
        hits = [bool(r[i]) for i in order]
        assert rank == hits.index(True) + 1
        assert found == pytest.approx(np.mean([sum(hits[: i + 1]) / (i + 1) for i in range(6) if hits[i]]))


def test_items_that_search_each_other_are_not_in_their_own_gallery() -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((12, 5)), np.array([0, 1, 2] * 3 + [0, 0, 3])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    for block in (5, 1024):
        found = class_precision(x, labels, block)
        for i in range(11):
            others = [j for j in range(12) if j != i]
            assert found[i] == pytest.approx(average_precision_score(labels[others] == labels[i], x[others] @ x[i]))
        assert np.isnan(found[11])  # the only item of its class
        stretched = class_precision(x * rng.uniform(0.1, 9, (12, 1)), labels, block)
        np.testing.assert_allclose(stretched, found)
    with pytest.raises(DataError, match="has no cosine"):
        class_precision(np.zeros((3, 2)), labels[:3])


def test_equal_scores_rank_last() -> None:
    relevant = np.zeros((4, 10), dtype=bool)
    relevant[:, 0] = True
    ranks = first_ranks(np.ones((4, 10)), relevant)
    assert ranks.tolist() == [10] * 4
    assert recall_at(ranks, 1) == 0.0
    assert recall_at(ranks, 10) == 1.0
    assert average_precision(np.ones((4, 10)), relevant).tolist() == pytest.approx([0.1] * 4)


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_the_threshold_is_as_good_as_any_that_a_loop_tries(rows: list[tuple[int, bool, bool]]) -> None:
    scores = np.array([r[0] for r in rows], dtype=np.float64)
    right = np.array([r[1] for r in rows])
    exists = np.array([r[1] or r[2] for r in rows])

    def decided(threshold: float) -> float:
        """Return the share of records that are linked to a true partner, or not linked without one."""
        return float(np.where(scores >= threshold, right, ~exists).mean())

    assert decided(match_threshold(scores, right, exists)) == max(map(decided, [*scores, scores.max() + 1]))


def test_of_equal_thresholds_the_middle_of_the_widest_gap_is_taken() -> None:
    scores = np.array([0.9, 0.8, 0.3, 0.2])
    right = np.array([True, True, False, False])
    assert match_threshold(scores, right, right) == pytest.approx(0.55)


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_the_f1_is_the_best_that_a_loop_finds(rows: list[tuple[int, bool, bool]]) -> None:
    scores = np.array([r[0] for r in rows], dtype=np.float64)
    right = np.array([r[1] for r in rows])
    exists = np.array([r[1] or r[2] for r in rows])
    found = {t: 2 * right[scores >= t].sum() / ((scores >= t).sum() + exists.sum()) for t in scores}
    threshold, f1 = f1_threshold(scores, right, exists)
    assert f1 == max(found.values())
    assert threshold == min(t for t, v in found.items() if v == f1)


def test_bad_input_is_named() -> None:
    scores, relevant = drawn(3, 4)
    with pytest.raises(DataError, match="must both be"):
        first_ranks(scores, relevant[:2])
    with pytest.raises(DataError, match="Query 1 has no relevant"):
        average_precision(scores, np.array([[True] * 4, [False] * 4, [True] * 4]))
    with pytest.raises(DataError, match="NaN"):
        first_ranks(np.full((3, 4), np.nan), relevant)
    with pytest.raises(UsageError, match="at least 1"):
        recall_at(np.array([1]), 0)
    with pytest.raises(DataError, match="no queries"):
        recall_at(np.array([], dtype=np.int64), 1)
    with pytest.raises(DataError, match="one finite score"):
        match_threshold(np.array([np.inf]), np.array([True]), np.array([True]))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=20))
def test_b_cubed_is_a_mean_over_items(items: list[tuple[int, int]]) -> None:
    c, e = (np.array(column) for column in zip(*items, strict=True))
    precision = np.mean([((c == c[i]) & (e == e[i])).sum() / (c == c[i]).sum() for i in range(len(c))])
    recall = np.mean([((c == c[i]) & (e == e[i])).sum() / (e == e[i]).sum() for i in range(len(c))])
    assert b_cubed(c, e) == pytest.approx((precision, recall, 2 * precision * recall / (precision + recall)))


def test_b_cubed_needs_items() -> None:
    with pytest.raises(DataError, match=r"must be \(items,\)"):
        b_cubed(np.zeros(0, int), np.zeros(0, int))


@pytest.mark.parametrize("cells", [1, 50, 1000, 10**6])
def test_ranks_in_blocks_are_those_of_the_whole_matrix(cells: int) -> None:
    rng = np.random.default_rng(4)
    photos = rng.normal(size=(40, 8)).astype(np.float32)
    photos[7] = photos[3]  # equal photos, and captions, tie
    owner = np.repeat(np.arange(40), rng.integers(1, 5, 40))
    texts = (photos[owner] + rng.normal(size=(len(owner), 8))).astype(np.float32)
    texts[9] = texts[30]
    photos, texts = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (photos, texts))
    scores = (photos.astype(np.float64) @ texts.astype(np.float64).T).astype(np.float32)
    relevant = owner[None] == np.arange(40)[:, None]
    of_photos = group_ranks(photos, texts, np.arange(40), owner, cells)
    of_texts = group_ranks(texts, photos, owner, np.arange(40), cells)
    assert of_photos.tolist() == first_ranks(scores, relevant).tolist()
    assert of_texts.tolist() == first_ranks(scores.T, relevant.T).tolist()


def test_ranks_of_many_captions_need_memory_for_a_block_alone() -> None:
    """20,000 x 20,000 scores would take 3 GB in float64."""
    n = 20_000
    vectors = np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    tracemalloc.start()
    try:
        group_ranks(vectors[:2000], vectors, np.arange(2000), np.arange(n), 2**20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * 2**20


def test_median_rank_of_an_even_number_is_the_middle() -> None:
    assert median_rank(np.array([1, 2, 5, 100])) == 3.5
    with pytest.raises(DataError, match="no queries"):
        median_rank(np.array([], dtype=np.int64))
