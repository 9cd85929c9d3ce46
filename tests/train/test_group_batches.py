"""Batches of one group each."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from diptych.core import DataError
from diptych.train.group_batches import GroupBatches, clustered, regrouped

GROUPS = np.array([0] * 7 + [1] * 4 + [2] * 3)


def test_each_batch_has_one_group_and_groups_take_turns() -> None:
    batches = GroupBatches(GROUPS, seed=3).batches(0, 2)
    of_batches = [{int(GROUPS[i]) for i in batch} for batch in batches]
    assert all(len(own) == 1 for own in of_batches)
    counts = [sum(own == {g} for own in of_batches) for g in range(3)]
    assert counts == [3, 2, 1]  # the rows that fill no batch are left out
    assert sorted(min(own) for own in of_batches[:3]) == [0, 1, 2]
    rows = [i for batch in batches for i in batch]
    assert len(set(rows)) == len(rows)


def test_an_epoch_is_drawn_by_the_seed() -> None:
    one = GroupBatches(GROUPS, 3)
    assert one.batches(1, 2) == GroupBatches(GROUPS, 3).batches(1, 2)
    assert one.batches(1, 2) != one.batches(2, 2)
    assert one.batches(1, 2) != GroupBatches(GROUPS, 4).batches(1, 2)


def test_what_is_left_out_is_said() -> None:
    with pytest.warns(UserWarning, match="6 of 14 rows are in groups that fill a batch of 6"):
        GroupBatches(GROUPS, 0).batches(0, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GroupBatches(GROUPS, 0).batches(0, 2)
    with pytest.raises(DataError, match="The largest of 3 groups has 7 rows and fills no batch of 8"):
        GroupBatches(GROUPS, 0).batches(0, 8)


def test_groups_tell_all_clusters_of_all_stages_apart() -> None:
    clusters = np.array([(s, i, t) for s in range(9) for i in range(3) for t in range(3)])
    groups = regrouped(*clusters.T, 3)
    assert len(set(groups.tolist())) == 81
    assert sorted(groups.tolist()) == list(range(81))


def test_clusters_are_those_of_the_points_and_the_seed() -> None:
    x = torch.eye(3).repeat_interleave(10, 0) + 0.01 * torch.randn(30, 3)
    found = clustered(x, 3, 0)
    assert len(set(found.tolist())) == 3
    assert all(len(set(found[i : i + 10].tolist())) == 1 for i in (0, 10, 20))
    assert np.array_equal(found, clustered(x, 3, 0))
    assert not clustered(x, 1, 0).any()
