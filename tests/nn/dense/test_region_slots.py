"""Slots of a model."""

from __future__ import annotations

import pytest
import torch

from diptych.backbones.changes.apply import changed
from diptych.core import MissingHook
from diptych.nn.dense.region_slots import read_slots
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
