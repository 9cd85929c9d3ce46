"""The bench of slots on few scenes: the bench, not the claims."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diptych.core.data import Column
from diptych.core.errors import NotAvailable
from diptych.core.run import Run
from diptych.data.formats.regions import boxes
from diptych.evaluation.arms import Arm
from diptych.evaluation.boards.tune import Training
from diptych.evaluation.proofs import slot_pairs
from diptych.evaluation.proofs.slot_pairs import FIT, IOU, ONE, ImageAlone, boxes_of_others, learns, open_slots
from diptych.methods.pretrain.grain import GRAIN
from tests.train.test_pair import small, squares

TINY = {"width": 8, "depth": 1, "heads": 2, "hidden": 8, "dropout": 0.0}


def test_slots_and_the_image_slot_name_the_same_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_pairs, "SIZES", {"train": 8, "test": 4})
    bench = open_slots("scenes", small(), Run(workers=1), (1, 2))
    bench.fit = replace(FIT, batch=4, steps=2)
    for method in (GRAIN(**TINY), ImageAlone(**TINY, boxes=0.0, descriptions=0.0)):
        found = bench.measure(Arm(Training(method)))
        assert found.values.shape == found.part(IOU).values.shape == (2, bench.facts["items"])
        assert found.part(ONE).values.shape == (2, 4)
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


def test_boxes_come_from_pictures_with_as_many() -> None:
    table = squares(12)
    own = [boxes([[i, 0, i + 1, 1]] * (1 + i % 2), "xyxy", [0] * (1 + i % 2)) for i in range(12)]
    table = replace(table, columns={**table.columns, "boxes": Column("boxes", tuple(own))})
    found = boxes_of_others(table, Run()).columns["boxes"].values
    assert [len(v.corners) for v in found] == [len(v.corners) for v in own]
    assert not any(np.array_equal(a.corners, b.corners) for a, b in zip(own, found, strict=True))
