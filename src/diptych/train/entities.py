"""Batches in which every record has another record of its entity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diptych.core.run import Run


@dataclass(frozen=True)
class SomeOfEach:
    """Batches of m records of each of batch / m entities; entities are drawn without replacement.

    Entities with a single record are left out.

    Args:
        entities: (N,) entity of each row of the table.
        each: m, >= 2; records of an entity with fewer than m are repeated.
        seed: of the run.

    Example:
        >>> sampler = SomeOfEach(np.array([0, 0, 1, 1, 1, 2]), each=2, seed=0)
        >>> [sorted(sampler.entities[batch].tolist()) for batch in sampler.batches(epoch=0, size=4)]
        [[0, 0, 1, 1]]
    """

    entities: NDArray[np.int64]
    each: int
    seed: int

    def batches(self, epoch: int, size: int) -> Sequence[Sequence[int]]:
        """Return the batches of an epoch; the last entities that fill no batch are left out."""
        rng = np.random.default_rng(Run(seed=self.seed).integer(f"entities/{epoch}"))
        labels, counts = np.unique(self.entities, return_counts=True)
        order = rng.permutation(labels[counts > 1])
        per = max(2, min(size // self.each, len(order)))
        batches = []
        for start in range(0, len(order) - per + 1, per):
            rows = [
                np.resize(rng.permutation(np.flatnonzero(self.entities == e)), self.each)
                for e in order[start : start + per]
            ]
            batches.append([int(i) for r in rows for i in r])
        return batches
