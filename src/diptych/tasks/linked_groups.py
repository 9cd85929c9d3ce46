"""Groups of records: what is linked, also by way of other records, from a threshold that labelled pairs choose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import Column, DataError, Table
from diptych.data.records.records import Records
from diptych.metrics.retrieval import b_cubed

TRIED = 64
"""Thresholds that are tried."""


def entities(both: Records, pairs: Sequence[tuple[int, int]], offset: int) -> NDArray[np.int64]:
    """Return (N + M,) numbers: records that pairs join are one entity, as are equal names of a self-linked table."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    first: dict[str, int] = {}
    same = [(i, first.setdefault(name, i)) for i, name in enumerate(both.names)]
    ends = np.asarray([*((i, offset + j) for i, j in pairs), *same], dtype=np.int64)
    graph = csr_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(both), len(both)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def components(
    both: Records, values: NDArray[np.float64], places: NDArray[np.int64], threshold: float
) -> NDArray[np.int64]:
    """Return (N + M,) groups: the connected components of all pairs from the threshold on, by their first records."""
    rows, columns = np.nonzero(values >= threshold)
    groups = entities(both, list(zip(rows.tolist(), places[rows, columns].tolist(), strict=True)), len(values))
    _, first, numbers = np.unique(groups, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[numbers], dtype=np.int64)


def group_threshold(
    both: Records,
    values: NDArray[np.float64],
    places: NDArray[np.int64],
    pairs: Sequence[tuple[int, int]],
    threshold: float | None,
) -> tuple[float, tuple[float, float, float]]:
    """Return the threshold, by default that of the best B-cubed F1 on labelled pairs, and precision, recall and F1."""
    records = np.unique([(i, len(values) + j) for i, j in pairs])
    true = entities(both, pairs, len(values))[records]
    if threshold is None:
        rows = np.unique([i for i, _ in pairs])
        scores = np.unique(values[rows])
        tried = np.quantile(scores, np.linspace(0, 1, min(len(scores), TRIED)), method="nearest")
        cuts = [float(scores[-1]) + 1.0, *np.unique(tried)[::-1].tolist()]
    else:
        cuts = [threshold]
    best = max(cuts, key=lambda cut: b_cubed(components(both, values, places, cut)[records], true)[2])
    return best, b_cubed(components(both, values, places, best)[records], true)


def held_out_pairs(entities: Sequence[int], rng: np.random.Generator) -> set[int]:
    """Return the positions of about a fifth of the pairs, given by entity: of an entity all or none, so that no record
    is on both sides.

    Raises:
        DataError: all are one entity.
    """
    groups: dict[int, list[int]] = {}
    for k, entity in enumerate(entities):
        groups.setdefault(entity, []).append(k)
    if len(groups) < 2:
        raise DataError(
            "All labelled pairs are connected by records that they share, so none can choose the threshold of what the "
            "others taught: give pairs of further records, or a {variant} that learns nothing."
        )
    drawn = [list(groups.values())[g] for g in rng.permutation(len(groups))]
    share, held = max(1, len(entities) // 5), list[int]()
    for group in drawn:
        if len(held) + len(group) <= share:
            held += group
    return set(held or min(drawn, key=len))


def labelled_records(
    both: Records, pairs: Sequence[tuple[int, int]], offset: int, entity: NDArray[np.int64]
) -> Table[Any]:
    """Return the records of the pairs with their entities."""
    rows = np.unique([(i, offset + j) for i, j in pairs])
    return Table(both.take(rows.tolist()), {"entity": Column("entity", entity[rows])})
