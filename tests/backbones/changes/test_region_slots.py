"""Region slots in a tower: the same vectors by the encoder and by the cut tower, and after saving."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diptych.backbones.changes.apply import changed
from diptych.backbones.sources.load import load
from diptych.backbones.sources.save import save
from diptych.backbones.towers.region_slots import RegionSlots
from diptych.core import MissingHook, UsageError
from tests.support.small_clip import small_clip
from tests.train.test_pair import Squares, small

SMALL = {"regions": 3, "width": 8, "depth": 2, "heads": 2, "hidden": 16, "dropout": 0.1}


def test_the_encoder_and_the_cut_tower_give_the_image_slot() -> None:
    space = changed(small(), "region-slots", **SMALL)
    x = space.image.inputs([Squares(2)[i] for i in range(2)])
    with torch.no_grad():
        tower, visual = space.tower("image"), space.module().visual
        state = tower.blocks(tower.start(x))
        v = space.image.encode(x)
        torch.testing.assert_close(tower.project(tower.pooled(state)), v)
        h = visual.ln_post(visual.attn_pool(state.h))
        torch.testing.assert_close(h[:, 0] @ visual.proj, v)
        r, boxes = visual.attn_pool.regions(h)
    assert (h.shape, r.shape, boxes.shape) == ((2, 4, 8), (2, 3, space.spec.dim), (2, 3, 4))
    with pytest.raises(MissingHook, match="whole pictures"):
        tower.pool(state.h, torch.ones(2, 1, state.h.shape[1]))


def test_a_saved_model_keeps_its_slots_and_loading_moves_no_generator(tmp_path: Path) -> None:
    space = changed(small_clip(tmp_path / "clip"), "region-slots", **SMALL)
    save(space, tmp_path / "model")
    before = torch.get_rng_state()
    again = load(f"local:{tmp_path / 'model'}")
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(again.module().visual.attn_pool, RegionSlots)
    x = space.image.inputs([Squares(1)[0]])
    assert torch.equal(again.image.encode(x), space.image.encode(x))


def test_what_takes_no_slots() -> None:
    space = changed(small(), "region-slots", **SMALL)
    with pytest.raises(MissingHook, match="takes no region slots"):
        changed(space, "region-slots", **SMALL)
    with pytest.raises(UsageError, match="multiple of the 3 heads, got 8"):
        changed(small(), "region-slots", **{**SMALL, "heads": 3})
