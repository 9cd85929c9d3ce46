"""A-CLIP: the CLS attention of a slow copy of the tower, over all blocks and heads, says which patches the online tower
keeps.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from diptych.backbones.towers.edits import keep_patches
from diptych.backbones.towers.kernels import recording_attention
from diptych.backbones.towers.of import tower_of
from diptych.core.backbone import Stage, State, Tower
from tests.support.towers import case, close, spec

CLS = ["open_clip CLIP image", "timm ViT, registers, qk-norm, LayerScale", "timm EVA-02, RoPE, SwiGLU", "HF CLIP image"]


def attended(slow: Tower, x: Tensor) -> Tensor:
    """(B, n) attention of CLS to the patches, mean over all blocks and heads."""
    record: dict[int, Tensor] = {}
    with torch.no_grad():
        s = slow.blocks(slow.start(x), kernel=recording_attention(record))
    return torch.stack([a[:, :, 0, s.prefix :].mean(1) for a in record.values()]).mean(0)


def encode_kept(tower: Tower, x: Tensor, keep: Tensor) -> Tensor:
    def drop(stage: Stage, i: int, s: State) -> State:
        return keep_patches(s, keep) if stage == "positioned" else s

    return tower.project(tower.pooled(tower.blocks(tower.start(x, edit=drop))))


@pytest.mark.parametrize("name", CLS)
def test_half_the_patches_train_the_tower_and_the_slow_copy_stays(name: str) -> None:
    c = case(name)
    slow = copy.deepcopy(c.module).requires_grad_(False)
    keep = attended(tower_of(slow, "image", spec(name)), c.x).topk(8).indices
    out = encode_kept(c.tower, c.x, keep)
    grads = torch.autograd.grad(
        out.square().sum(), [p for n, p in c.module.named_parameters() if "proj" in n], allow_unused=True
    )
    assert any(g is not None and g.abs().sum() > 0 for g in grads)
    everything = torch.arange(16).expand(3, -1)
    with torch.no_grad():
        assert close(encode_kept(c.tower, c.x, everything), c.forward(c.x))
        assert not close(out, c.forward(c.x), 1e-3)


@torch.no_grad()
def test_equals_the_library_on_the_shorter_sequence() -> None:
    c = case("open_clip CLIP image")
    visual: Any = c.module.visual
    keep = attended(c.tower, c.x).topk(5).indices
    patches = visual.conv1(c.x).flatten(2).transpose(1, 2) + visual.positional_embedding[1:]
    patches = torch.stack([row[k] for row, k in zip(patches, keep, strict=True)])
    cls = (visual.class_embedding + visual.positional_embedding[0]).expand(3, 1, -1)
    h = visual.transformer(visual.ln_pre(torch.cat([cls, patches], dim=1)))
    assert close(encode_kept(c.tower, c.x, keep), visual.ln_post(h[:, 0]) @ visual.proj)
