from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage

from diptych.backbones.mask_models.merge_tree import MergeTree

ROW = np.array([[[0.0], [1.0], [5.0], [7.5], [20.0]]])


def test_merges_and_heights_are_those_of_scipy_in_a_row() -> None:
    tree, wards = MergeTree.of(ROW), linkage(ROW.reshape(5, 1), "ward")
    assert tree.heights is not None
    assert tree.heights == pytest.approx(wards[:, 2])
    assert [sorted(pair) for pair in tree.children.tolist()] == [sorted(map(int, row[:2])) for row in wards]
    assert tree.sizes.tolist() == [1] * 5 + wards[:, 3].astype(int).tolist()


def test_masks_cuts_and_parents_say_the_same() -> None:
    tree = MergeTree.of(ROW)
    assert tree.mask(5).tolist() == [True, True, False, False, False]
    assert tree.mask(8).all()
    assert tree.cut(2) == [4, 7]
    assert tree.between(2, 4) == [5, 6, 7]
    parents = tree.parents()
    assert parents[8] == 8
    for node, parent in enumerate(parents[:-1]):
        assert (tree.mask(int(parent)) | ~tree.mask(node)).all()


def test_only_neighbours_merge() -> None:
    tree = MergeTree.of(np.array([[[0.0], [9.0], [0.0], [8.0]]]))
    assert sorted(tree.children[0].tolist()) != [0, 2]
