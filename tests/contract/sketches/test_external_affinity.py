"""Trident and CLIP-DINOiser: another model's affinity mixes the values of the last block; a tap reads an inner map."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.backbones.towers.kernels import identity_attention
from diptych.core.backbone import Kernel, Tower
from tests.support.towers import IMAGES, case, close


def affinity(teacher: Tensor, beta: float = 1.2, gamma: float = 3.0) -> Tensor:
    """(B, n, D') teacher patches to (B, n, n) rows: negative likeness hidden, softmax of the rest."""
    unit = F.normalize(teacher, dim=-1)
    likeness = unit @ unit.transpose(1, 2)
    likeness = gamma * (likeness - beta * likeness.mean())
    own = torch.eye(likeness.shape[1], dtype=torch.bool)  # a row never loses itself
    return likeness.masked_fill((likeness < 0) & ~own, float("-inf")).softmax(-1)


def external_attention(affinity: Tensor, prefix: int) -> Kernel:
    """Mix patch values by (B or 1, n, n) weights; the tokens before them keep their own."""

    def kernel(i: int, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        return torch.cat([v[:, :, :prefix], affinity[:, None] @ v[:, :, prefix:]], dim=2)

    return kernel


def patch_embeddings(tower: Tower, x: Tensor, rows: Tensor) -> Tensor:
    """(B, n, D): the last block is W_o(R W_v LN1(x)) alone, without residual and MLP."""
    last = tower.depth - 1
    s = tower.blocks(tower.start(x), stop=last)
    return tower.project(tower.norm(tower.attend(s, last, external_attention(rows, s.prefix))[:, s.prefix :]))


@torch.no_grad()
def test_equals_the_weights_by_hand() -> None:
    c = case("open_clip CLIP image")
    v: Any = c.module.visual
    rows = affinity(torch.randn(3, 16, 10, generator=torch.Generator().manual_seed(0)))
    block = v.transformer.resblocks[-1]
    x = block.ln_1(v.transformer.resblocks[0](v._embeds(c.x)))[:, 1:]
    values = F.linear(x, block.attn.in_proj_weight[96:], block.attn.in_proj_bias[96:])
    expected = v.ln_post(block.attn.out_proj(rows @ values)) @ v.proj
    assert close(patch_embeddings(c.tower, c.x, rows), expected)


@pytest.mark.parametrize("name", [n for n in IMAGES if "CoCa" not in n])
@torch.no_grad()
def test_an_identity_affinity_is_maskclip_on_every_tower(name: str) -> None:
    c = case(name)
    n = c.tower.start(c.x).h.shape[1] - c.tower.start(c.x).prefix
    last = c.tower.depth - 1
    s = c.tower.blocks(c.tower.start(c.x), stop=last)
    expected = c.tower.project(c.tower.norm(c.tower.attend(s, last, identity_attention)[:, s.prefix :]))
    assert close(patch_embeddings(c.tower, c.x, torch.eye(n)[None]), expected)


def test_a_tapped_map_trains_the_affinity_head() -> None:
    """CLIP-DINOiser: a 3x3 convolution on the MLP input of an inner block imitates the teacher's affinity."""
    c = case("HF CLIP image")
    taps: dict[int, Tensor] = {}

    def tap(i: int, what: str, h: Tensor) -> None:
        if what == "mlp_in":
            taps[i] = h

    with torch.no_grad():
        s = c.tower.blocks(c.tower.start(c.x), tap=tap)
    inner = taps[c.tower.depth - 2][:, s.prefix :].transpose(1, 2).reshape(3, c.tower.width, *s.grid)
    teacher = F.normalize(torch.randn(3, 16, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    target = (teacher @ teacher.transpose(1, 2) > 0.2).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = torch.nn.Conv2d(c.tower.width, 8, 3, padding=1, padding_mode="replicate")
    optimiser, losses = torch.optim.Adam(head.parameters(), 1e-2), []
    for _ in range(20):
        unit = F.normalize(head(inner).flatten(2), dim=1)
        loss = F.binary_cross_entropy_with_logits((unit.transpose(1, 2) @ unit).clamp_min(0), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
