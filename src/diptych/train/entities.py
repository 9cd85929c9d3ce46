"""Batches in which every record has another record of its entity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diptych.core import Run

ROWS = 1024
"""Entities that are compared with all others at a time."""


@dataclass(frozen=True)
class SomeOfEach:
    """Batches of m records of each of batch / m entities; entities are drawn without replacement.

    Entities with a single record are left out.

    Args:
        entities: (N,) entity of each row of the table.
        each: m, >= 2; records of an entity with fewer than m are repeated.
        near: (E, h) entities that stand beside each one in a batch, hard negatives of it; both in the order of their
            numbers. A batch is cut from groups of one and what is left of its h, so that an epoch has each entity once
            at most. None: none.

    Example:
        >>> sampler = SomeOfEach(np.array([0, 0, 1, 1, 1, 2]), each=2, seed=0)
        >>> [sorted(sampler.entities[batch].tolist()) for batch in sampler.batches(epoch=0, size=4)]
        [[0, 0, 1, 1]]
    """

    entities: NDArray[np.int64]
    each: int
    seed: int
    near: NDArray[np.int64] | None = None

    def batches(self, epoch: int, size: int) -> Sequence[Sequence[int]]:
        """Return the batches of an epoch; the last entities that fill no batch are left out."""
        rng = np.random.default_rng(Run(seed=self.seed).integer(f"entities/{epoch}"))
        labels, counts = np.unique(self.entities, return_counts=True)
        order = labels[self._drawn(np.flatnonzero(counts > 1), rng)]
        per = max(2, min(size // self.each, len(order)))
        batches = []
        for start in range(0, len(order) - per + 1, per):
            rows = [
                np.resize(rng.permutation(np.flatnonzero(self.entities == e)), self.each)
                for e in order[start : start + per]
            ]
            batches.append([int(i) for r in rows for i in r])
        return batches

    def _drawn(self, usable: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Return positions of entities in random order, each with what is near it behind it."""
        order = rng.permutation(usable)
        if self.near is None:
            return order
        left = dict.fromkeys(order.tolist())
        drawn: list[int] = []
        while left:
            first = next(iter(left))
            group = [first, *(e for e in self.near[first].tolist() if e in left and e != first)]
            for entity in group:
                del left[entity]
            drawn += group
        return np.asarray(drawn, dtype=np.int64)


def nearest_entities(vectors: NDArray[np.float32], entities: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return (E, h) the nearest other entities of each one, by the cosine of the means of their records.

    Args:
        vectors: (N, D) unit embeddings of records.
        entities: (N,) entity of each; they are numbered in ascending order.
        count: h, less than which there are where there are fewer other entities.
    """
    _, number, sizes = np.unique(entities, return_inverse=True, return_counts=True)
    means = np.zeros((len(sizes), vectors.shape[1]), dtype=np.float64)
    np.add.at(means, number, vectors)
    means /= np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12)
    neighbours = min(count, len(means) - 1)
    near = np.empty((len(means), neighbours), dtype=np.int64)
    for start in range(0, len(means), ROWS):
        cosines = means[start : start + ROWS] @ means.T
        cosines[np.arange(len(cosines)), start + np.arange(len(cosines))] = -np.inf
        near[start : start + ROWS] = np.argsort(-cosines, axis=1, kind="stable")[:, :neighbours]
    return near
