"""Slots of a model, and the scores that they give classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from diptych.backbones.changes.apply import changed
from diptych.core.errors import MissingHook
from diptych.nn.dense.region_slots import Slots, read_slots, slot_scores
from tests.backbones.changes.test_region_slots import SMALL
from tests.train.test_pair import Squares, small


def test_slots_of_pictures() -> None:
    space = changed(small(), "region-slots", **SMALL)
    x = space.image.inputs([Squares(2)[i] for i in range(2)])
    with torch.no_grad():
        slots = read_slots(space, x)
        torch.testing.assert_close(slots.image, space.image.encode(x))
    assert slots.regions.shape == (2, 3, space.spec.dim)
    assert (slots.boxes[..., 2:] > slots.boxes[..., :2]).all()
    with pytest.raises(MissingHook, match="has no region slots"):
        read_slots(small(), x)


def test_scores_against_a_loop() -> None:
    g = torch.Generator().manual_seed(0)
    slots = Slots(torch.randn(2, 4, generator=g), torch.randn(2, 3, 4, generator=g), torch.zeros(2, 3, 4))
    head, said = (normalize(torch.randn(n, 4, generator=g), dim=-1) for n in (2, 5))
    owner = torch.tensor([1, 0, 1, 1, 0])
    found = slot_scores(slots, head, said, owner, 0.3).numpy()
    for b in range(2):
        v, r = normalize(slots.image[b], dim=0), normalize(slots.regions[b], dim=-1)
        for c in range(2):
            best = np.mean([max(float(r[q] @ said[k]) for k in range(5) if owner[k] == c) for q in range(3)])
            assert found[b, c] == pytest.approx(0.3 * float(v @ head[c]) + 0.7 * best, abs=1e-5)
    torch.testing.assert_close(slot_scores(slots, head, said, owner, 1.0), normalize(slots.image, dim=-1) @ head.T)
