"""OVSeg: learned tokens stand for blanked patches, between patch conv and CLS and again after the first blocks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.backbones.towers.edits import fill
from diptych.core.backbone import Edit, Stage, State, Tower
from tests.support.towers import case, close


def mask_prompts(prompts: Tensor, blank: Tensor) -> Edit:
    """Edit that writes (depth, n, C) prompts over the patches that the (B, n) mask marks as blank."""

    def edit(stage: Stage, i: int, s: State) -> State:
        if stage == "patches" or (stage == "after" and i + 1 < len(prompts)):
            layer = prompts[0 if stage == "patches" else i + 1]
            ends = (s.prefix, s.h.shape[1] - s.prefix - len(layer))
            return fill(s, F.pad(blank, ends), F.pad(layer, (0, 0, *ends)))
        return s

    return edit


def encode(tower: Tower, x: Tensor, edit: Edit) -> Tensor:
    return tower.project(tower.pooled(tower.blocks(tower.start(x, edit=edit), edit=edit)))


@pytest.mark.parametrize(
    "name", ["open_clip CLIP image", "HF CLIP image", "HF SigLIP image", "timm EVA-02, RoPE, SwiGLU"]
)
def test_blank_patches_have_no_say_and_prompts_learn(name: str) -> None:
    c = case(name)
    g = torch.Generator().manual_seed(0)
    prompts = torch.randn(2, 16, c.tower.width, generator=g).requires_grad_()
    blank = torch.zeros(3, 16, dtype=torch.bool)
    blank[:, [0, 1, 4, 5]] = True  # the upper left quarter of 4 x 4 patches
    out = encode(c.tower, c.x, mask_prompts(prompts, blank))
    other = c.x.clone()
    other[:, :, :16, :16] = 3.0
    assert torch.equal(encode(c.tower, other, mask_prompts(prompts, blank)), out)
    (grad,) = torch.autograd.grad(out.square().sum(), prompts)
    assert (grad[:, blank[0]].abs().sum(-1) > 0).all()
    assert grad[:, ~blank[0]].abs().sum() == 0
    assert close(encode(c.tower, c.x, mask_prompts(prompts, torch.zeros_like(blank))), c.forward(c.x))


@torch.no_grad()
def test_equals_the_paper_by_hand() -> None:
    c = case("open_clip CLIP image")
    v: Any = c.module.visual
    g = torch.Generator().manual_seed(0)
    prompts, blank = torch.randn(2, 16, 48, generator=g), torch.rand(3, 16, generator=g) > 0.5
    keep = (~blank)[..., None].float()
    tokens = v.conv1(c.x).flatten(2).transpose(1, 2) * keep + prompts[0] * (1 - keep)
    h = v.ln_pre(torch.cat([v.class_embedding.expand(3, 1, -1), tokens], dim=1) + v.positional_embedding)
    h = v.transformer.resblocks[0](h)
    h = torch.cat([h[:, :1], h[:, 1:] * keep + prompts[1] * (1 - keep)], dim=1)
    h = v.transformer.resblocks[1](h)
    assert close(encode(c.tower, c.x, mask_prompts(prompts, blank)), v.ln_post(h[:, 0]) @ v.proj)
