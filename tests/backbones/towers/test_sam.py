from __future__ import annotations

import dataclasses

import pytest
import torch

from diptych.backbones.towers.kernels import recording_attention
from diptych.backbones.towers.sam import SamTower
from diptych.core import MissingHook, Tower, UsageError
from tests.support.sam import small_sam
from tests.support.towers import close


@torch.no_grad()
def test_the_tower_rebuilds_the_encoder_and_its_attention() -> None:
    model = small_sam()
    tower = SamTower(model.vision_encoder, "sam")
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = model.vision_encoder(x).last_hidden_state
    assert close(tower.neck(tower.blocks(tower.start(x))), expected)
    assert close(tower.neck(tower.blocks(tower.start(x), kernel=recording_attention({}))), expected)
    assert isinstance(tower, Tower)
    caught: dict[str, torch.Tensor] = {}
    hook = model.vision_encoder.layers[-1].attn.register_forward_hook(lambda m, a, out: caught.update(w=out[1]))
    model.vision_encoder.config._attn_implementation = "eager"
    attention = type(model.vision_encoder.layers[-1].attn).__mro__[1]
    h = model.vision_encoder.layers[-1].layer_norm1(tower.blocks(tower.start(x), stop=2).h.unflatten(1, (8, 8)))
    weights = attention.forward(model.vision_encoder.layers[-1].attn, h)[1]
    hook.remove()
    record: dict[int, torch.Tensor] = {}
    tower.blocks(tower.start(x), kernel=recording_attention(record))
    assert close(record[2].flatten(0, 1), weights)
    assert record[0].shape == (2 * 9, 2, 9, 9)  # windows of three cells, of a grid padded to nine


def test_a_block_of_sam_needs_its_grid() -> None:
    tower = SamTower(small_sam().vision_encoder, "sam")
    with pytest.raises(UsageError, match="grid"):
        tower.layers[0].attend(torch.zeros(1, 64, 32), lambda q, k, v: v)
    s = tower.start(torch.zeros(1, 3, 64, 64))
    with pytest.raises(MissingHook, match="drop or add"):
        tower.attend(dataclasses.replace(s, h=s.h[:, :3]), 0)
