from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.functional import mse_loss

from diptych.backbones.diffusion.small import SmallDiffusion
from diptych.nn.diffusion.ddim import repeated
from diptych.nn.diffusion.subject import subject_tokens, with_tokens
from tests.support.diffusion import random_diffusion
from tests.support.small_clip import small_clip


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory: pytest.TempPathFactory) -> SmallDiffusion:
    return random_diffusion(small_clip(tmp_path_factory.mktemp("clip") / Path("vit")))


def test_tokens_lower_the_error_on_the_picture_and_change_nothing_else(diffusion: SmallDiffusion) -> None:
    condition = diffusion.encode_text(["a red star"])
    before = condition.tokens.clone()
    picture = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))

    def learnt(steps: int) -> torch.Tensor:
        g = torch.Generator().manual_seed(1)
        return subject_tokens(diffusion, condition, (2, 3), picture, g, steps=steps, rate=0.1, batch=8)

    def error(v: torch.Tensor) -> float:
        g = torch.Generator().manual_seed(9)
        t = torch.randint(1000, (64,), generator=g)
        z = diffusion.to_latent(picture[None])
        noise = torch.randn(64, *z.shape[1:], generator=g)
        a = diffusion.alphas_cumprod[t].to(z)[:, None, None, None]
        return mse_loss(
            diffusion.eps(a.sqrt() * z + (1 - a).sqrt() * noise, t, repeated(with_tokens(condition, (2, 3), v), 64)),
            noise,
        ).item()

    none, some = learnt(0), learnt(40)
    assert torch.equal(none, before[0, [2, 3]])
    assert error(some) < error(none)
    assert torch.equal(learnt(40), some)
    assert torch.equal(condition.tokens, before)
    assert not any(p.requires_grad or p.grad is not None for p in diffusion.net.parameters())


def test_only_the_places_are_replaced(diffusion: SmallDiffusion) -> None:
    condition = diffusion.encode_text(["a red star"])
    out = with_tokens(condition, (1,), torch.zeros(1, condition.tokens.shape[2]))
    assert not out.tokens[0, 1].any()
    assert torch.equal(out.tokens[0, 2:], condition.tokens[0, 2:])
