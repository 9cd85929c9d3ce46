"""The bench of slots on few scenes: the bench, not the claims."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diptych.core import NotAvailable, Run
from diptych.evaluation.arms import Arm
from diptych.evaluation.boards.tune import Training
from diptych.methods.pretrain.grain import GRAIN
from proofs.benches.training import slot_pairs
from proofs.benches.training.region_pairs import PLACELESS, Elsewhere
from proofs.benches.training.slot_pairs import FIT, IOU, ONE, SAME_BOXES, ImageAlone, learns, open_slots
from tests.train.test_pair import small

TINY = {"width": 8, "depth": 1, "heads": 2, "hidden": 8, "dropout": 0.0}


def test_slots_and_the_image_slot_name_the_same_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_pairs, "SIZES", {"train": 8, "test": 4})
    bench = open_slots("scenes", small(), Run(workers=1), (1, 2))
    bench.fit = replace(FIT, batch=4, steps=2)
    for method in (GRAIN(**TINY), ImageAlone(**TINY, boxes=0.0, descriptions=0.0)):
        measured = bench.measure(Arm(Training(method)))
        assert measured.values.shape == measured.part(IOU).values.shape == measured.part(ONE).values.shape == (2, 4, 2)
        assert measured.values[0, :, 0].sum() == bench.facts["items"]
        elsewhere = bench.measure(Arm(Elsewhere(Training(method)))).values
        # one slot for all regions is the same slot for another one
        assert not isinstance(method, ImageAlone) or np.array_equal(elsewhere, measured.values)
    assert len(bench.trainings) == 4  # two systems, two seeds
    same = bench.measure(Arm(SAME_BOXES)).part(IOU).values
    assert 0 < same[..., 1].sum() < same[..., 0].sum()
    placeless = bench.measure(Arm(PLACELESS)).values[0]
    assert ((placeless[:, 1] >= 1 - 1e-9) & (placeless[:, 1] <= placeless[:, 0])).all()
    with pytest.raises(NotAvailable):
        open_slots("photos", small(), Run(), (1,))


def test_the_towers_are_frozen() -> None:
    space = GRAIN(**TINY).slotted(small(), Run())
    new = {n for n, _ in space.module().named_parameters() if learns(n)}
    old = dict(small().module().named_parameters())
    assert {n for n in new if n in old} == {
        "logit_scale",
        "visual.proj",
        "visual.ln_post.weight",
        "visual.ln_post.bias",
    }
    assert not any(n.startswith("visual.attn_pool.norm") for n in new)
