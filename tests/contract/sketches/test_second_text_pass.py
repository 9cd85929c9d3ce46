"""LightCLIP: a causal tower runs again, bidirectional, on masked words, with cross-attention to the image between its
blocks.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from diptych.backbones.towers.cut import attention_bias
from diptych.core.backbone import Stage, State, Tower
from tests.support.towers import PAD, close, oc_text


class Fusion(nn.Module):
    """Cross-attention after the named blocks, gated by scalars that start at 0."""

    def __init__(self, width: int, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.blocks = blocks
        self.attention = nn.ModuleList(nn.MultiheadAttention(width, 4, batch_first=True) for _ in blocks)
        self.gates = nn.Parameter(torch.zeros(len(blocks)))

    def forward(self, i: int, h: Tensor, patches: Tensor) -> Tensor:
        k = self.blocks.index(i)
        return h + self.gates[k] * self.attention[k](h, patches, patches, need_weights=False)[0]


def second_pass(tower: Tower, ids: Tensor, hidden: Tensor, fusion: Fusion, patches: Tensor, mask_id: int) -> Tensor:
    """(B, T, C) states of the text with the (B, T) ``hidden`` words masked."""

    def edit(stage: Stage, i: int, s: State) -> State:
        if stage == "ready":
            return replace(s, bias=attention_bias(ids != PAD, causal=False, length=ids.shape[1], like=s.h))
        return replace(s, h=fusion(i, s.h, patches)) if stage == "after" and i in fusion.blocks else s

    masked = ids.masked_fill(hidden, mask_id)
    # ids say where the text ends, embeds what is read
    s = tower.start({"ids": ids, "embeds": tower.embed(masked)}, edit=edit)
    return tower.norm(tower.blocks(s, edit=edit).h)


def parts() -> tuple[Tower, Tower, Tensor, Fusion, Tensor]:
    causal = oc_text("causal")
    both = oc_text("both", no_causal_mask=True, use_pad_mask=True)
    both.module.load_state_dict(causal.module.state_dict())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return causal.tower, both.tower, causal.x, Fusion(48, (0, 2)), torch.randn(3, 7, 48)


def test_without_fusion_it_is_the_librarys_bidirectional_tower() -> None:
    tower, both, ids, fusion, patches = parts()
    out = second_pass(tower, ids, torch.zeros_like(ids, dtype=torch.bool), fusion, patches, 3)
    expected = both.norm(both.blocks(both.start(ids)).h)
    assert close(out[ids != PAD], expected[ids != PAD])
    assert not close(out, tower.norm(tower.blocks(tower.start(ids)).h), 1e-2)


def test_masked_words_learn_from_the_image() -> None:
    tower, _, ids, fusion, patches = parts()
    hidden = torch.zeros_like(ids, dtype=torch.bool)
    hidden[:, 2] = True
    patches.requires_grad_()
    out = second_pass(tower, ids, hidden, fusion, patches, 3)[hidden]
    (grad,) = torch.autograd.grad(out.square().sum(), fusion.gates)
    assert (grad != 0).all()
    with torch.no_grad():
        fusion.gates.fill_(1.0)
    (grad,) = torch.autograd.grad(second_pass(tower, ids, hidden, fusion, patches, 3)[hidden].square().sum(), patches)
    assert grad.abs().sum() > 0
