"""Batches that are drawn from one group of rows each, such as clusters whose rows are hard to tell apart."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diptych.core import DataError, Run

Groups: TypeAlias = NDArray[np.int64]
"""(M,) group of each of M rows."""


@dataclass(frozen=True)
class GroupBatches:
    """A sampler whose batches are drawn from one group each; the groups take turns.

    What does not fill a batch of its group is left out of the epoch. A warning says so where it is most of the rows.

    Args:
        groups: (M,) group of each row.

    Example:
        >>> sampler = GroupBatches(np.array([0, 1, 0, 1, 0]), seed=0)
        >>> [sorted({int(sampler.groups[i]) for i in batch}) for batch in sampler.batches(0, 2)]
        [[0], [1]]
    """

    groups: Groups
    seed: int

    def batches(self, epoch: int, size: int) -> Sequence[Sequence[int]]:
        """Return the batches of an epoch.

        Raises:
            DataError: no group fills a batch.
        """
        g = np.random.default_rng(Run(seed=self.seed).integer(f"groups/{epoch}"))
        names, counts = np.unique(self.groups, return_counts=True)
        if counts.max() < size:
            raise DataError(
                f"The largest of {len(names)} groups has {counts.max()} rows and fills no batch of {size}: give a "
                f"smaller batch, fewer clusters or more rows."
            )
        drawn = []
        for name in names:
            rows = g.permutation(np.flatnonzero(self.groups == name))
            drawn.append(rows[: len(rows) // size * size].reshape(-1, size).tolist())
        batched = sum(len(groups) for groups in drawn) * size
        if epoch == 0 and 2 * batched < len(self.groups):
            warnings.warn(
                f"{batched} of {len(self.groups)} rows are in groups that fill a batch of {size}; the others are left "
                f"out: give a smaller batch or fewer clusters.",
                stacklevel=2,
            )
        order = g.permutation(len(drawn))
        turns = max(len(groups) for groups in drawn)
        return [drawn[i][turn] for turn in range(turns) for i in order if turn < len(drawn[i])]


def regrouped(groups: Groups, images: Groups, texts: Groups, clusters: int) -> Groups:
    """Return g_s of M rows.

    Args:
        groups: g_(s-1).
        images: k_I, in [0, K).
        texts: k_T, in [0, K).
        clusters: K.

    Example:
        >>> regrouped(np.array([0, 1]), np.array([2, 0]), np.array([1, 1]), 3).tolist()
        [5, 12]
    """
    return clusters**2 * groups + clusters * texts + images


def clustered(x: Tensor, clusters: int, seed: int) -> Groups:
    """Return the cluster of each of M rows by k-means.

    Args:
        x: (M, D) unit embeddings.
        clusters: K; at most M are made.
        seed: of the starts.
    """
    from sklearn.cluster import MiniBatchKMeans

    if clusters == 1:
        return np.zeros(len(x), dtype=np.int64)
    model = MiniBatchKMeans(min(clusters, len(x)), batch_size=4096, n_init=3, random_state=seed)
    return np.asarray(model.fit_predict(x.cpu().numpy()), dtype=np.int64)
