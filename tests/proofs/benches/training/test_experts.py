"""The proof of CLIP-MoE with few scenes and steps: the bench, not the claim."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from diptych.core import NotAvailable, Run
from diptych.data.scenes.tables import scene_data
from proofs.benches.training.experts import CLIP_MOE, FIT, MOE, ShuffledGroups, open_experts, other_features
from proofs.benches.training.scene_pairs import PAIRS
from tests.support.proofs import judged
from tests.train.test_pair import small

RUN = Run(workers=1)


def test_equal_models_see_the_same_features_and_others_do_not() -> None:
    g = torch.Generator().manual_seed(0)
    one = tuple(torch.eye(3).repeat_interleave(20, 0) + 0.05 * torch.randn(60, 3, generator=g) for _ in range(2))
    other = tuple(x[torch.randperm(60, generator=g)] for x in one)
    assert other_features(one, one, RUN) == pytest.approx(0)
    assert other_features(one, tuple(3 * x + 1 for x in one), RUN) == pytest.approx(0)
    assert other_features(one, other, RUN) > 0.8


def test_shuffled_groups_have_the_sizes_of_the_groups() -> None:
    table, space = scene_data(PAIRS, {"train": 30}).split("train"), small()
    before = np.zeros(30, dtype=np.int64)
    own, other = (m.groups(space, table, before, RUN, 1) for m in (MOE, ShuffledGroups(**vars(MOE))))
    assert sorted(own) == sorted(other)
    assert not np.array_equal(own, other)


@pytest.mark.filterwarnings("ignore:.* rows are in groups")
def test_the_bench_measures_every_arm() -> None:
    opener = partial(
        open_experts,
        method=replace(MOE, layers=1),
        fit=replace(FIT, batch=2, steps=1),
        sizes={"train": 24, "test": 6},
    )
    verdict = judged(replace(CLIP_MOE, bench=opener), "clip-moe", "scenes", small(), RUN, (1, 2, 3))
    assert (verdict["items"], verdict["train"]) == (6, 24)
    equal = next(c for c in verdict["controls"] if c["name"] == "equal experts")
    assert equal["gain"] == 0.0
    assert equal["failed"]
    assert [c["name"] for c in verdict["claims"]] == ["recall at 1", "other features"]
    assert [b["name"] for b in verdict["beside"]] == ["dense, as many steps", "the best single expert"]
    with pytest.raises(NotAvailable, match="which are called scenes"):
        open_experts("emoji", small(), RUN, (1,))
