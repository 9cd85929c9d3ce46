"""CLIP4DM: signed attributions of words = gradient of the cosine to the attention probabilities of the last text
blocks.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.backbones.towers.kernels import recording_attention
from diptych.core.backbone import Inputs, Tower
from tests.support.towers import TEXTS, case, close


def attributions(tower: Tower, x: Inputs, image: Tensor, last: int = 2) -> Tensor:
    """(B, T): r = p R, R = mean over layers and heads of dc/dA * A; p are the pooling weights, so end token, CLS and
    mean all serve.
    """
    record: dict[int, Tensor] = {}
    s = tower.blocks(tower.start(x), stop=tower.depth - last)
    s = tower.blocks(s, tower.depth - last, kernel=recording_attention(record))
    cosine = F.cosine_similarity(tower.project(tower.pooled(s)), image, dim=-1)
    grads = torch.autograd.grad(cosine.sum(), list(record.values()))
    maps = torch.stack([(g * a.detach()).mean(1) for g, a in zip(grads, record.values(), strict=True)]).mean(0)
    assert s.pool is not None
    return torch.einsum("bt,btu->bu", s.pool, maps)


@pytest.mark.parametrize("name", TEXTS)
def test_every_text_tower_attributes(name: str) -> None:
    c = case(name)
    image = torch.randn(3, c.forward(c.x).shape[1], generator=torch.Generator().manual_seed(0))
    r = attributions(c.tower, c.x, image)
    assert r.isfinite().all()
    assert (r < 0).any()
    assert r.abs().sum(1).min() > 0


def test_equals_the_librarys_own_attentions() -> None:
    c = case("HF CLIP text")
    image = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    model: Any = c.module
    model.set_attn_implementation("eager")
    try:
        out = model.text_model(input_ids=c.x, output_attentions=True)
        cosine = F.cosine_similarity(model.text_projection(out.pooler_output), image, dim=-1).sum()
        probabilities = out.attentions[-2:]
        grads = torch.autograd.grad(cosine, probabilities)
    finally:
        model.set_attn_implementation("sdpa")
    maps = sum((g * a.detach()).mean(1) for g, a in zip(grads, probabilities, strict=True)) / 2
    ends = (c.x == 59).int().argmax(1)
    assert close(attributions(c.tower, c.x, image), maps[torch.arange(3), ends], 1e-4)  # type: ignore[index]
