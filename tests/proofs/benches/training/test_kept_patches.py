"""The bench of A-CLIP's proof, with a small random CLIP and few scenes: the bench, not the claims."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from diptych.core import Clock, NotAvailable, Run
from diptych.methods.pretrain.a_clip import ACLIP
from proofs.benches.training import kept_patches, scene_pairs
from proofs.benches.training.kept_patches import (
    FEW,
    PROJECTIONS,
    LeastAttended,
    RandomMasks,
    fresh_projections,
    open_kept,
)
from proofs.pretrain import TRIALS
from tests.support.proofs import judged
from tests.support.small_clip import small_clip
from tests.train.test_pair import RUN, small


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scene_pairs, "SIZES", {"train": 16, "test": 8})
    monkeypatch.setattr(kept_patches, "BLOCK", 1)
    return small_clip(tmp_path / "clip")


def test_every_arm_is_measured_on_the_same_scenes(few) -> None:
    opener = partial(open_kept, fit=replace(FEW, batch=8, steps=1))
    judgement = judged(replace(TRIALS["a-clip"], bench=opener), "a-clip", "scenes", few, Run(workers=1), (1, 2))
    assert [c["name"] for c in judgement["claims"]] == ["kept half", "after training"]
    assert all(0 <= c["method"]["recall_at_1"] <= 1 for c in judgement["claims"])
    assert (judgement["train"], judgement["items"]) == (16, 8)
    with pytest.raises(NotAvailable):
        open_kept("photos", few, RUN, (1,))


def test_controls_keep_the_other_patches() -> None:
    boxes, attention = torch.tensor([[[0.0, 0.0, 1.0, 1.0]] * 2] * 3), torch.rand(3, 2, 2)
    clock = Clock(0, 1, 0, torch.Generator().manual_seed(0))
    own, least, random = (
        kind.trainee(kind(hidden=8, out=4), small(), RUN, lambda name: True)
        for kind in (ACLIP, LeastAttended, RandomMasks)
    )
    torch.testing.assert_close(least.scores(attention, boxes, clock), -own.scores(attention, boxes, clock))
    drawn = random.scores(None, boxes, clock)
    assert drawn.shape == (2, 3, 2, 2)
    assert not torch.equal(drawn[0], drawn[1])
    assert own.looks
    assert not random.looks


def test_projections_are_new_and_towers_are_not() -> None:
    space = small()
    one, two = (fresh_projections(space, Run(seed=s)) for s in (1, 2))
    before, after, other = (b.module().state_dict() for b in (space, one, two))
    assert {n for n in before if not torch.equal(before[n], after[n])} <= set(PROJECTIONS)
    assert not torch.equal(after["visual.proj"], other["visual.proj"])
