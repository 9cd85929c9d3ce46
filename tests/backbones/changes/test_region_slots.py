"""Region slots in a tower: the same vectors by the encoder and by the cut tower, and after saving."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diptych.backbones.changes.apply import changed
from diptych.backbones.sources.load import load
from diptych.backbones.sources.save import save
from diptych.backbones.towers.region_slots import RegionSlots, SlotLayer
from diptych.core.errors import MissingHook, UsageError
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


def test_a_layer_against_numpy() -> None:
    torch.manual_seed(0)
    layer = SlotLayer(4, 1, 6, 0.5).eval()
    h, codes, memory = (torch.randn(1, n, 4) for n in (2, 2, 3))
    w = {n: p.detach().double().numpy() for n, p in layer.state_dict().items()}

    def norm(a, i):
        a = (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-5)
        return a * w[f"norms.{i}.weight"] + w[f"norms.{i}.bias"]

    def attend(name, q, k, v):
        weights, biases = (np.split(w[f"{name}.in_proj_{kind}"], 3) for kind in ("weight", "bias"))
        q, k, v = (a @ m.T + b for a, m, b in zip((q, k, v), weights, biases, strict=True))
        logits = np.exp(q @ k.T / 2)
        return (logits / logits.sum(1, keepdims=True)) @ v @ w[f"{name}.out_proj.weight"].T + w[f"{name}.out_proj.bias"]

    a, c, m = (t[0].double().numpy() for t in (h, codes, memory))
    n = norm(a, 0)
    a = a + attend("own", n + c, n + c, n)
    a = a + attend("other", norm(a, 1) + c, m, m)
    expected = a + np.maximum(norm(a, 2) @ w["up.weight"].T + w["up.bias"], 0) @ w["down.weight"].T + w["down.bias"]
    np.testing.assert_allclose(layer(h, codes, memory)[0].detach().numpy(), expected, atol=1e-5)


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
