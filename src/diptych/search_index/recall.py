"""How many of the exact ten nearest an approximate search finds, and the least effort that is enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diptych.search_index.described import Vectors

EXACT = 200_000
"""Largest number of entries for exact search (our choice; 20 ms a query of width 512 on one core)."""
TOP = 10
"""Number of neighbours in the measured recall."""
ENOUGH = 0.95
"""Recall, less its standard error, that chooses the effort."""
LEAST = 0.9
"""Recall below which approximate search in a database is refused."""
DRAWN = 100
"""Vectors of an index that choose the effort; as many others measure what is stated."""
Search = Callable[[Vectors, int], NDArray[np.int64]]
"""From (Q, D) unit queries and an effort to the (Q, k) slots of candidates, k at least 11; -1: none."""


@dataclass(frozen=True)
class Approximate:
    """Description of an approximate index.

    Args:
        slots: number of covered vectors, the first ones.
        kind: the engine's name of its structure.
        nprobe: effort of a search: number of cells that it reads, or of candidates of a graph.
        recall: kind of query -> share of the exact ten nearest among the candidates, measured at the build.
        queries: kind of query -> number of queries in the measurement.
        held_out: kind of query -> the same share for as many other queries, which did not choose ``nprobe``.
    """

    slots: int
    kind: str
    nprobe: int
    recall: Mapping[str, float]
    queries: Mapping[str, int]
    held_out: Mapping[str, float] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """What ``nprobe`` counts."""
        return "cells" if self.kind.startswith("IVF") else "candidates"

    @property
    def stated(self) -> Mapping[str, float]:
        """The recall that is stated: on queries that did not choose ``nprobe``; earlier versions measured no others."""
        return self.held_out or self.recall


@dataclass(frozen=True)
class Queries:
    """Queries and the exact ten nearest of each.

    Args:
        values: (Q, D) unit vectors.
        nearest: (Q, 10) slots.
    """

    values: Vectors
    nearest: NDArray[np.int64]

    @classmethod
    def of(cls, values: Vectors, exact: NDArray[np.int64], stored: NDArray[np.int64] | None = None) -> Queries:
        """Leave each query that is itself stored out of its nearest.

        Args:
            values: (Q, D) unit vectors.
            exact: (Q, 11) slots of the nearest, best first.
            stored: (Q,) slots of the queries; None: they are not stored.
        """
        others = exact != (np.full(len(values), -1) if stored is None else stored)[:, None]
        others[others.all(1), -1] = False
        return cls(values, exact[others].reshape(-1, TOP))

    def half(self, which: Literal[0, 1]) -> Queries:
        """Return every second query."""
        return Queries(self.values[which::2], self.nearest[which::2])

    def shares(self, search: Search, effort: int) -> NDArray[np.float64]:
        """Return the (Q,) shares of the ten nearest that are candidates of an approximate search."""
        rows = zip(self.nearest, search(self.values, effort), strict=True)
        return np.array([np.isin(nearest, row).mean() for nearest, row in rows])


def nearest_of(blocks: Iterable[tuple[NDArray[np.int64], Vectors]], queries: Vectors, k: int) -> NDArray[np.int64]:
    """Return the (Q, k) slots of the k nearest of each query, best first; -1 where there are fewer.

    Args:
        blocks: all stored vectors, some at a time: (n,) slots and (n, D) vectors.
        queries: (Q, D).
        k: at least 1.
    """
    best = np.full((len(queries), k), -np.inf, dtype=np.float32)
    slots = np.full((len(queries), k), -1, dtype=np.int64)
    for numbers, vectors in blocks:
        both = np.concatenate([best, queries @ vectors.T], axis=1)
        top = np.argpartition(-both, k - 1, axis=1)[:, :k]
        every = np.concatenate([slots, np.broadcast_to(numbers, (len(queries), len(numbers)))], axis=1)
        slots, best = np.take_along_axis(every, top, 1), np.take_along_axis(both, top, 1)
    return np.take_along_axis(slots, np.argsort(-best, axis=1, kind="stable"), 1)


def measured(
    slots: int, kind: str, sampled: Mapping[str, Queries], search: Search, efforts: Iterable[int]
) -> Approximate:
    """Return the first of ascending efforts whose recall, less its standard error, is 0.95 on each kind of query, or
    the last one.

    Args:
        slots: number of covered vectors.
        kind: of the structure.
        sampled: kind -> at least two queries; half of them choose, half measure.
        search: the approximate search.
        efforts: ascending.
    """
    choosing, others = ({name: queries.half(which) for name, queries in sampled.items()} for which in (0, 1))
    shares: dict[str, NDArray[np.float64]] = {}
    effort = 0
    for effort in efforts:
        shares = {name: queries.shares(search, effort) for name, queries in choosing.items()}
        if min(s.mean() - s.std() / len(s) ** 0.5 for s in shares.values()) >= ENOUGH:
            break
    return Approximate(
        slots,
        kind,
        effort,
        {name: float(s.mean()) for name, s in shares.items()},
        {name: len(s) for name, s in shares.items()},
        {name: float(queries.shares(search, effort).mean()) for name, queries in others.items()},
    )
