"""Trees of merged cells: Ward's rule over the cells of a grid, of which only neighbours merge."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class MergeTree:
    """A tree of merges: node n >= ``leaves`` joins ``children[n - leaves]``.

    Args:
        children: (leaves - 1, 2) nodes that each merge joins.
        heights: (leaves - 1,) what each merge costs, which may fall where only neighbours merge; None: not known.

    Attributes:
        sizes: (2 leaves - 1,) number of leaves below each node.
    """

    def __init__(self, children: Any, leaves: int, heights: NDArray[np.float64] | None = None) -> None:
        self.children, self.leaves, self.heights = np.asarray(children, dtype=np.int64), leaves, heights
        self.sizes = np.ones(leaves + len(self.children), dtype=np.int64)
        for i, (a, b) in enumerate(self.children):
            self.sizes[leaves + i] = self.sizes[a] + self.sizes[b]

    @classmethod
    def of(cls, vectors: NDArray[np.floating[Any]]) -> MergeTree:
        """Return Ward's tree of (h, w, d) vectors of cells.

        Each merge raises the sum of squared distances to the mean the least. Its height is the square root of twice
        that rise.

        Source: Ward 1963 with a connectivity constraint, as scikit-learn has it.

        Example:
            >>> MergeTree.of(np.array([[[0.0], [1.0], [9.0]]])).children[0].tolist()
            [0, 1]
        """
        from sklearn.cluster import ward_tree
        from sklearn.feature_extraction.image import grid_to_graph

        height, width = vectors.shape[:2]
        flat = vectors.reshape(height * width, -1)
        ward = ward_tree(flat, connectivity=grid_to_graph(height, width), return_distance=True)
        return cls(ward[0], height * width, np.asarray(ward[4]))

    def mask(self, node: int) -> NDArray[np.bool_]:
        """Return (leaves,) bool: the leaves below a node."""
        mask, waiting = np.zeros(self.leaves, dtype=bool), [node]
        while waiting:
            n = waiting.pop()
            if n < self.leaves:
                mask[n] = True
            else:
                waiting += self.children[n - self.leaves].tolist()
        return mask

    def cut(self, count: int) -> list[int]:
        """Return the nodes of the cut with ``count`` regions: the last merges are undone, newest first."""
        nodes = {self.leaves + len(self.children) - 1} if len(self.children) else {0}
        while len(nodes) < count:
            last = max(nodes)
            nodes.remove(last)
            nodes |= set(self.children[last - self.leaves].tolist())
        return sorted(nodes)

    def between(self, least: int, most: int) -> list[int]:
        """Return the merges with so many leaves below them, in their order."""
        sizes = self.sizes[self.leaves :]
        return (self.leaves + np.flatnonzero((sizes >= least) & (sizes <= most))).tolist()

    def parents(self) -> NDArray[np.int64]:
        """Return (2 leaves - 1,) the merge that takes each node up; the root's is itself."""
        parents = np.arange(len(self.sizes))
        parents[self.children.ravel()] = np.repeat(np.arange(self.leaves, len(self.sizes)), 2)
        return parents
