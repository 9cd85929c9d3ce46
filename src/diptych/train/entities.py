"""Batches in which every record has a partner: some records of each of some entities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diptych.core.run import Run


@dataclass(frozen=True)
class SomeOfEach:
    """Batches of m records of each of batch / m entities; entities are drawn without replacement, those with one record
    sit out.

    Args:
        entities: (N,) of the table.
        each: m, >= 2; an entity with fewer records gives some of them twice.
        seed: of the run.
    """

    entities: NDArray[np.int64]
    each: int
    seed: int

    def batches(self, epoch: int, size: int) -> Sequence[Sequence[int]]:
        """Return the batches of an epoch; the last entities that fill none sit this epoch out."""
        rng = np.random.default_rng(Run(seed=self.seed).integer(f"entities/{epoch}"))
        labels, counts = np.unique(self.entities, return_counts=True)
        order = rng.permutation(labels[counts > 1])
        per = max(2, min(size // self.each, len(order)))
        found = []
        for start in range(0, len(order) - per + 1, per):
            rows = [
                np.resize(rng.permutation(np.flatnonzero(self.entities == e)), self.each)
                for e in order[start : start + per]
            ]
            found.append([int(i) for r in rows for i in r])
        return found
