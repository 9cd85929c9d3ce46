"""Metrics of retrieval and linkage: N queries, each with scores of M gallery items, of which some are relevant.

Ties count against the system: an irrelevant item ranks before a relevant one of the same score. So results do not
depend on the order of the gallery, and a model with constant scores ranks last.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, UsageError

Scores = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
CELLS = 2**23
"""Scores in memory at a time, 64 MiB in float64, where ranks are computed in blocks."""


def first_ranks(scores: Scores, relevant: Mask) -> NDArray[np.int64]:
    """Return the rank, from 1, of each query's best relevant item. Lower is better.

        rank = 1 + number of irrelevant items that score at least as much

    Args:
        scores: (N, M), higher is nearer; an item that must not count (the query itself) has -inf.
        relevant: (N, M).

    Raises:
        DataError: sizes differ, a score is NaN, or a query has no relevant item.
    """
    _check(scores, relevant)
    best = np.where(relevant, scores, -np.inf).max(1, keepdims=True)
    return np.asarray(1 + ((scores >= best) & ~relevant).sum(1), dtype=np.int64)


def group_ranks(
    queries: NDArray[np.floating[Any]],
    gallery: NDArray[np.floating[Any]],
    group_of: NDArray[np.integer[Any]],
    groups: NDArray[np.integer[Any]],
    cells: int = CELLS,
) -> NDArray[np.int64]:
    """Return ``first_ranks`` of N queries by cosine among M items, a block of queries at a time.

    Those of a query's group are relevant, as the captions of a photo are. Scores are rounded to float32 from float64,
    so that the size of a block changes no rank, and equal items tie.

    Args:
        queries: (N, D) unit vectors.
        gallery: (M, D) unit vectors.
        group_of: (N,) group of each query.
        groups: (M,) group of each item.
        cells: scores in memory at a time, at least those of one query.

    Raises:
        DataError: as ``first_ranks``.

    Example:
        >>> photos, captions = np.eye(2), np.array([[0.8, 0.6], [0.6, 0.8], [1.0, 0.0]])
        >>> group_ranks(photos, captions, np.arange(2), np.array([0, 0, 1])).tolist()
        [2, 3]
    """
    out = np.empty(len(queries), dtype=np.int64)
    wide, block = gallery.astype(np.float64).T, max(1, cells // max(1, len(gallery)))
    for start in range(0, len(queries), block):
        rows = slice(start, start + block)
        scores = (queries[rows].astype(np.float64) @ wide).astype(np.float32)
        out[rows] = first_ranks(scores, group_of[rows, None] == groups[None])
    return out


def recall_at(ranks: NDArray[np.integer[Any]], k: int) -> float:
    """Return R@k, the share of queries with a relevant item among the first k. Higher is better, in [0, 1].

    Raises:
        DataError: there are no ranks.
        UsageError: k below 1.

    Source: Karpathy and Fei-Fei 2015, section 4.1; CLIP_benchmark's ``recall@k`` counts the same.
    """
    if k < 1:
        raise UsageError(f"k of R@k must be at least 1, got {k}.")
    return float((_some(ranks) <= k).mean())


def median_rank(ranks: NDArray[np.integer[Any]]) -> float:
    """Return the median of the best ranks; of an even number, the mean of the middle two. Lower is better, from 1.

    Raises:
        DataError: there are no ranks.

    Example:
        >>> median_rank(np.array([1, 9, 2, 4]))
        3.0
    """
    return float(np.median(_some(ranks)))


def average_precision(scores: Scores, relevant: Mask) -> NDArray[np.float64]:
    """Return each query's average precision; their mean is mAP. Higher is better, in [0, 1].

        AP = mean over relevant items i of  (relevant items ranked up to i) / rank(i)

    Args:
        scores: (N, M), higher is nearer; an item that must not count has -inf and is not relevant.
        relevant: (N, M).

    Raises:
        DataError: sizes differ, a score is NaN, or a query has no relevant item.

    Source: Manning, Raghavan and Schütze 2008, section 8.4.
    """
    _check(scores, relevant)
    order = np.lexsort((relevant, -scores))  # by score; within a tie, relevant items last
    hits = np.take_along_axis(relevant, order, 1)
    precision = hits.cumsum(1) / np.arange(1, hits.shape[1] + 1)
    return np.asarray((precision * hits).sum(1) / hits.sum(1), dtype=np.float64)


def class_precision(vectors: NDArray[np.floating[Any]], labels: NDArray[Any], block: int = 1024) -> NDArray[np.float64]:
    """Return the average precision of N items that search each other by cosine; their mean is mAP. Higher is better.

    Each item is a query, all others are the gallery, and those of its class are relevant. An item is not in its own
    gallery; GPR1200's code counts it as the first hit, which gives higher numbers.

    Args:
        vectors: (N, D) embeddings of any length but 0.
        labels: (N,) classes.
        block: queries at a time; block x N scores are in memory.

    Returns:
        (N,) in [0, 1]; NaN for the only item of a class.

    Raises:
        DataError: a vector is 0 or not finite, which has no cosine.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise DataError("A vector of length 0, or one that is not finite, has no cosine: leave it out.")
    vectors = vectors / lengths
    out = np.full(len(vectors), np.nan)
    for start in range(0, len(vectors), block):
        rows = np.arange(start, min(start + block, len(vectors)))
        scores = vectors[rows].astype(np.float64) @ vectors.T
        relevant = labels[rows][:, None] == labels[None]
        scores[np.arange(len(rows)), rows], relevant[np.arange(len(rows)), rows] = -np.inf, False
        some = relevant.any(1)
        if some.any():
            out[rows[some]] = average_precision(scores[some], relevant[some])
    return out


def match_threshold(scores: Scores, right: Mask, exists: Mask) -> float:
    """Return the threshold that decides most labelled records correctly; see ``linked``.

    Of equally good thresholds it is the middle of the widest gap between two scores.

    Args:
        scores: (N,) finite score of each record's nearest candidate.
        right: (N,) whether that candidate is a true partner.
        exists: (N,) whether the record has a true partner.

    Raises:
        DataError: no records, sizes differ, or a score is not finite.

    Source: Arora et al. 2023, section 3 (no-match threshold on the inner product, chosen on validation).
    """
    _check_links(scores, right, exists)
    values = np.unique(scores.astype(np.float64))
    low, high = values[0] - 1.0, values[-1] + 1.0
    edges = np.concatenate([[low], values, [high]])
    cuts, gaps = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    cuts[0], cuts[-1] = values[0], np.nextafter(values[-1], np.inf)  # link all; link none
    gaps[0] = gaps[-1] = 0.0
    gains = np.zeros(len(values) + 1)
    np.add.at(gains, np.searchsorted(values, scores), right.astype(np.float64) - (~exists))
    good = gains[::-1].cumsum()[::-1]  # gain of each cut over linking none
    best = np.flatnonzero(good >= good.max() - 1e-9)
    return float(cuts[best[np.argmax(gaps[best])]])


def f1_threshold(scores: Scores, right: Mask, exists: Mask) -> tuple[float, float]:
    """Return the threshold with the best F1 of links on labelled records, and that F1.

        F1 = 2 right links / (links + records that have a partner)

    Of equally good thresholds it is the lowest. Unlike ``match_threshold``, it needs no labelled records without a
    partner.

    Args:
        scores: (N,) finite score of each record's nearest candidate.
        right: (N,) whether that candidate is a true partner.
        exists: (N,) whether the record has a true partner.

    Raises:
        DataError: no records, sizes differ, or a score is not finite.
    """
    _check_links(scores, right, exists)
    order = np.argsort(-scores, kind="stable")
    values, hits = scores[order].astype(np.float64), right[order].cumsum()
    last = np.append(values[1:] < values[:-1], True)  # records of one score are linked together or not at all
    f1 = np.where(last, 2 * hits / (np.arange(1, len(values) + 1) + exists.sum()), -1.0)
    at = len(f1) - 1 - int(f1[::-1].argmax())
    return float(values[at]), float(f1[at])


def candidates(entities: NDArray[Any], groups: NDArray[Any] | None = None) -> tuple[Mask, Mask]:
    """Return which of N records may match each other, and which do.

    Args:
        entities: (N,) entity of each record.
        groups: (N,) source of each record; only records of different sources may match. None: any two.

    Returns:
        (N, N) whether two records may match, False on the diagonal; (N, N) whether they also have one entity.
    """
    may = ~np.eye(len(entities), dtype=bool)
    if groups is not None:
        may &= groups[:, None] != groups[None]
    return may, may & (entities[:, None] == entities[None])


def chosen_threshold(scores: Scores, entities: NDArray[Any], groups: NDArray[Any] | None = None) -> float:
    """Return ``match_threshold`` of N records, whose candidate is the nearest other one that may match.

    Args:
        scores: (N, N) score of every two records.
        entities: (N,) as in ``candidates``.
        groups: (N,) as in ``candidates``.

    Raises:
        DataError: no record may match another.
    """
    may, true = candidates(entities, groups)
    rows = np.flatnonzero(may.any(1))
    allowed = np.where(may, scores, -np.inf)[rows]
    nearest = allowed.argmax(1)
    return match_threshold(allowed.max(1), true[rows, nearest], np.asarray(true[rows].any(1)))


def b_cubed(clusters: NDArray[np.integer[Any]], entities: NDArray[np.integer[Any]]) -> tuple[float, float, float]:
    """Return B-cubed precision, recall and F1 of a clustering, each in [0, 1], higher is better.

        precision = mean over the items i of |C_i n E_i| / |C_i|;  recall = mean of |C_i n E_i| / |E_i|

    Args:
        clusters: (N,) cluster of each item, C_i.
        entities: (N,) true entity of each item, E_i.

    Raises:
        DataError: no items, or sizes differ.

    Source: Bagga and Baldwin 1998, "Entity-based cross-document coreferencing using the vector space model".

    Example:
        >>> b_cubed(np.array([0, 0, 0, 1]), np.array([5, 5, 6, 6]))
        (0.6666666666666666, 0.75, 0.7058823529411765)
    """
    if clusters.shape != entities.shape or clusters.ndim != 1 or not len(clusters):
        raise DataError(f"Clusters and entities must be (items,), got {clusters.shape} and {entities.shape}.")
    _, c = np.unique(clusters, return_inverse=True)
    _, e = np.unique(entities, return_inverse=True)
    _, both, shared = np.unique(c * (e.max() + 1) + e, return_inverse=True, return_counts=True)
    common = shared[both]
    precision, recall = (float((common / np.bincount(groups)[groups]).mean()) for groups in (c, e))
    return precision, recall, 2 * precision * recall / (precision + recall)


def _check_links(scores: Scores, right: Mask, exists: Mask) -> None:
    if (
        not (scores.shape == right.shape == exists.shape)
        or scores.ndim != 1
        or not len(scores)
        or not np.isfinite(scores).all()
    ):
        raise DataError(
            f"A threshold needs one finite score a record, got sizes {scores.shape}, {right.shape} and {exists.shape}."
        )


def _some(ranks: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    if ranks.size == 0:
        raise DataError("There are no queries to measure: give at least one.")
    return ranks


def _check(scores: Scores, relevant: Mask) -> None:
    if scores.shape != relevant.shape or scores.ndim != 2:
        raise DataError(f"Scores and relevance must both be (queries, items), got {scores.shape} and {relevant.shape}.")
    if np.isnan(scores).any():
        raise DataError(
            f"{int(np.isnan(scores).sum())} scores are NaN: find the items whose embeddings are not finite."
        )
    if not relevant.any(1).all():
        query = int(np.flatnonzero(~relevant.any(1))[0])
        raise DataError(f"Query {query} has no relevant item in the gallery: leave it out, or add its partner.")
