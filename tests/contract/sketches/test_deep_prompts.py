"""ViFi-CLIP and AnomalyCLIP: fresh prompts in every block of both towers; frames of a clip are averaged before
normalising.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from diptych.backbones.towers.edits import insert, overwrite
from diptych.core.backbone import Edit, Inputs, Stage, State, Tower
from tests.support.towers import IMAGES, TEXTS, case, close


def inserted(prompts: Tensor) -> Edit:
    """(depth, n, C) prompts before the first patch: inserted once, overwritten before every later block."""

    def edit(stage: Stage, i: int, s: State) -> State:
        if stage != "before" or i >= len(prompts):
            return s
        return insert(s, prompts[0], s.prefix) if i == 0 else overwrite(s, prompts[i], s.prefix - prompts.shape[1])

    return edit


def overwritten(prompts: Tensor) -> Edit:
    """(depth, n, C) prompts over the tokens after the start token, which hold placeholders."""

    def edit(stage: Stage, i: int, s: State) -> State:
        return overwrite(s, prompts[i], 1) if stage == "before" and i < len(prompts) else s

    return edit


def encode(tower: Tower, x: Inputs, edit: Edit) -> Tensor:
    return tower.project(tower.pooled(tower.blocks(tower.start(x), edit=edit)))


@pytest.mark.parametrize("name", [*IMAGES, *TEXTS])
def test_prompts_of_every_block_learn_and_the_tower_may_stay_frozen(name: str) -> None:
    c = case(name)
    prompts = torch.randn(c.tower.depth, 2, c.tower.width, generator=torch.Generator().manual_seed(0)).requires_grad_()
    out = encode(c.tower, c.x, (inserted if c.modality == "image" else overwritten)(prompts))
    (grad,) = torch.autograd.grad(out.square().sum(), prompts)
    assert (grad.abs().sum(-1) > 0).all()


@torch.no_grad()
def test_equals_the_blocks_by_hand() -> None:
    c = case("open_clip CLIP image")
    v: Any = c.module.visual
    prompts = torch.randn(2, 3, 48, generator=torch.Generator().manual_seed(0))
    h = v._embeds(c.x)
    h = v.transformer.resblocks[0](torch.cat([h[:, :1], prompts[0].expand(3, -1, -1), h[:, 1:]], dim=1))
    h = v.transformer.resblocks[1](torch.cat([h[:, :1], prompts[1].expand(3, -1, -1), h[:, 4:]], dim=1))
    assert close(encode(c.tower, c.x, inserted(prompts)), v.ln_post(h[:, 0]) @ v.proj)


@torch.no_grad()
def test_a_clip_is_the_mean_of_its_frames() -> None:
    c = case("HF CLIP image")
    clips = torch.randn(2, 5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    prompts = torch.zeros(c.tower.depth, 2, c.tower.width)

    def embed(x: Tensor) -> Tensor:
        return encode(c.tower, x.flatten(0, 1), inserted(prompts)).unflatten(0, x.shape[:2]).mean(1)  # type: ignore[no-untyped-call]

    assert close(embed(clips), embed(clips.flip(1)))
