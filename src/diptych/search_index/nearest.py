"""The nearest entries of an index: exact up to a size, else approximate candidates that are scored again exactly.

    score(e) = sum over modalities m of  w_m <q, v_m(e)>

q: unit vector of the query
v_m(e): unit vector of the entry's picture or caption, 0 without one
w_m: weight of the modality
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from diptych.core import DamagedStore, UsageError
from diptych.core.wording import columns_there
from diptych.search_index import ann, recall
from diptych.search_index.database_index import DatabaseIndex
from diptych.search_index.described import Vectors
from diptych.search_index.index import Index
from diptych.search_index.opening import AnyIndex
from diptych.search_index.recall import TOP
from diptych.search_index.rows import MODALITIES, Hit, Modality
from diptych.search_index.where import Condition

_Best = list[tuple[float, int]]
_BLOCK = 256  # vectors


def nearest(
    index: AnyIndex,
    query: Vectors,
    k: int,
    weights: Mapping[Modality, float],
    *,
    where: Sequence[Condition] = (),
    exact: bool | None = None,
) -> list[Hit]:
    """Return the k nearest entries, best first; of equal scores the older entry.

    Args:
        index: the index.
        query: (D,) unit vector.
        k: number of results, at least 1.
        weights: modality -> weight; entries without a vector of any of them are left out.
        where: conditions on results.
        exact: whether to score all entries; None: up to ``recall.EXACT`` vectors, or entries that meet the conditions,
            or without an approximate index.

    Raises:
        UsageError: k below 1, no weight, a query of another width, ``exact=False`` without an approximate index, or a
            condition on a fact that no entry has.
        DamagedStore: the index is damaged.
    """
    modalities = [m for m in MODALITIES if weights.get(m, 0.0) != 0.0]
    if k < 1 or not modalities or query.shape != (index.dim,):
        raise UsageError(
            f"A search takes k of at least 1, a weight, and a query of {index.dim} numbers, not {k}, {weights}, "
            f"{query.shape}."
        )
    chosen = {m: weights[m] for m in modalities}
    if isinstance(index, DatabaseIndex):
        nearest = index.nearest(query.astype(np.float32), k, chosen, where, exact)
        if where and (not nearest or any(c.operator == "!=" for c in where)):
            _check_columns(index, where)
        return nearest
    for attempt in (1, 2):
        try:
            with index.snapshot():
                best = _best(index, query.astype(np.float32), k, chosen, where, exact)
                if where and (not best or any(c.operator == "!=" for c in where)):
                    _check_columns(index, where)
                entries = index.entries([i for _, i in best])
            return [Hit(entries[i], -score) for score, i in best]
        except DamagedStore:  # another process may have compacted the files
            if attempt == 2:
                raise
    raise AssertionError


def _check_columns(index: AnyIndex, where: Sequence[Condition]) -> None:
    columns = index.columns()
    for c in where:
        if c.column.replace('"', "") not in columns:
            raise UsageError(
                f"No entry of {index.folder} has {c.column!r}: conditions may ask for {columns_there(columns)}."
            )


def _best(
    index: Index,
    query: Vectors,
    k: int,
    weights: Mapping[Modality, float],
    where: Sequence[Condition],
    exact: bool | None,
) -> _Best:
    if exact is None:
        large = any(len(index.vectors(m)) > recall.EXACT for m in weights)
        # counting all that meet conditions takes longer than the search
        many = large and (not where or index.more_than(recall.EXACT, where))
        exact = not (many and ann.installed()) or None
    if exact:
        return _exact(index, query, k, weights, where)
    descriptions = {m: ann.about(index, m) for m in weights}
    if any(a is None for a in descriptions.values()):
        if exact is False:
            raise UsageError(
                f"{index.folder} has no approximate index of {' and '.join(weights)}: build one with "
                f"'diptych index --out {shlex.quote(str(index.folder))} --ann'."
            )
        return _exact(index, query, k, weights, where)
    fetch = 4 * max(k, TOP)
    while True:
        best, more = list[tuple[float, int]](), False
        for m, description in descriptions.items():
            assert description is not None
            slots = ann.candidates(index, m, description, query if weights[m] > 0 else -query, fetch)
            for part in (
                index.located(m, slots.tolist(), where),
                *index.places(m, where, first=description.slots, size=index.chunk),
            ):
                best = _merged(best, _scored(index, part, query, weights, k), k)
            more = more or len(slots) == fetch
        if len(best) >= k:
            return best
        if not more:  # too few candidates are present and meet the conditions
            return _exact(index, query, k, weights, where)
        fetch *= 4


def _exact(
    index: Index, query: Vectors, k: int, weights: Mapping[Modality, float], where: Sequence[Condition]
) -> _Best:
    best: _Best = []
    earlier: list[int] = []
    if len(weights) == 1 and not where:
        ((m, weight),) = weights.items()
        return _all_slots(index, m, query, weight, k)
    if len(weights) == 1:  # slots alone, and the entries of the best ones
        ((m, weight),) = weights.items()
        for slots in index.slots_where(m, where, size=index.chunk):
            scores = weight * _products(index.vectors(m), slots, query)
            top = _top(scores, k)
            held = dict(zip(slots[top].tolist(), scores[top].tolist(), strict=True))
            rows = index.located(m, list(held))[:, [0, 1 + MODALITIES.index(m)]]
            best = _merged(best, [(-held[slot], number) for number, slot in rows.tolist()], k)
        return best
    for m in weights:
        column = 1 + MODALITIES.index(m)
        for rows in index.places(m, where, size=index.chunk):
            fresh = rows[(rows[:, earlier] < 0).all(1)]  # the others are in an earlier pass
            best = _merged(best, _scored(index, fresh, query, weights, k), k)
        earlier.append(column)
    return best


def _all_slots(index: Index, modality: Modality, query: Vectors, weight: float, k: int) -> _Best:
    """Return the k best of all entries with a vector; only the best slots are looked up in the rows, since listing all
    of them takes longer than their products.
    """
    stored, count, number = index.vectors(modality), k, 1 + MODALITIES.index(modality)
    while True:
        slots, products = _best_slots(stored, query if weight > 0 else -query, count, index.chunk)
        known = dict(zip(slots.tolist(), (abs(weight) * products).tolist(), strict=True))
        rows = index.located(modality, list(known))[:, [0, number]]
        best = sorted((-known[slot], entry) for entry, slot in rows.tolist())[:k]
        if len(best) == k or len(slots) == len(stored):
            return best
        count *= 4  # some of the best are of deleted entries


def _best_slots(
    stored: Vectors, query: Vectors, count: int, chunk: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the slots of the ``count`` largest products and those that equal the least of them, and the products."""
    slots, best = np.zeros(0, np.int64), np.zeros(0, np.float32)
    least = -np.inf
    for start in range(0, len(stored), chunk):
        scores = _dots(stored[start : start + chunk], query)
        more = np.flatnonzero(scores >= least)
        slots, best = np.concatenate([slots, start + more]), np.concatenate([best, scores[more]])
        top = _top(best, count)
        slots, best = slots[top], best[top]
        if len(best) >= count:
            least = float(best.min())
    return slots, best


def _dots(vectors: Vectors, query: Vectors) -> NDArray[np.float32]:
    """Return the (n,) products of (n, D) vectors that are read once, in the order they lie, with a query.

    Row by row, which keeps pace with the memory: OpenBLAS's product of a matrix and a vector takes 1.4 times as long.
    """
    products: NDArray[np.float32] = np.einsum("ij,j->i", vectors, query)
    return products


def _scored(index: Index, rows: NDArray[np.int64], query: Vectors, weights: Mapping[Modality, float], k: int) -> _Best:
    total = np.zeros(len(rows), dtype=np.float32)
    for m, weight in weights.items():
        slots = rows[:, 1 + MODALITIES.index(m)]
        there = slots >= 0
        total[there] += weight * _products(index.vectors(m), slots[there], query)
    top = _top(total, k)
    return list(zip((-total[top]).tolist(), rows[top, 0].tolist(), strict=True))


def _top(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return where the k highest scores are, and those that equal the least of them."""
    return np.flatnonzero(scores >= np.partition(scores, -k)[-k]) if len(scores) > k else np.arange(len(scores))


def _merged(best: _Best, more: _Best, k: int) -> _Best:
    return sorted({i: (s, i) for s, i in [*best, *more]}.values())[:k]


def _products(stored: Vectors, slots: NDArray[np.int64], query: Vectors) -> NDArray[np.float32]:
    """Return the (n,) products of the vectors at n slots with a query; neighbours are not copied, others in blocks that
    stay in the processor's cache.
    """
    if len(slots) and slots[-1] - slots[0] == len(slots) - 1 and (np.diff(slots) == 1).all():
        return _dots(stored[slots[0] : slots[-1] + 1], query)
    out, block = np.empty(len(slots), np.float32), np.empty((min(_BLOCK, len(slots)), len(query)), np.float32)
    for start in range(0, len(slots), _BLOCK):
        part = slots[start : start + _BLOCK]
        np.take(stored, part, axis=0, out=block[: len(part)], mode="clip")  # without a copy, unlike "raise"
        np.dot(block[: len(part)], query, out=out[start : start + len(part)])
    return out
