from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from diptych.backbones.diffusion.patch_denoiser import (
    DenoiserLayout,
    PatchDenoiser,
    denoised,
    noise_in,
    step_waves,
    wanted,
)
from diptych.core import Site

LAYOUT = DenoiserLayout(size=8, patch=2, width=16, depth=2, heads=2, text=12, mlp=2)


@pytest.fixture(scope="module")
def net() -> PatchDenoiser:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = PatchDenoiser(LAYOUT).eval()
        for p in net.parameters():
            if p.ndim > 1:
                torch.nn.init.normal_(p, std=0.3)
    return net.requires_grad_(False)


def inputs(many: int = 2, length: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    mask = torch.ones(many, length, dtype=torch.bool)
    mask[0, 3:] = False
    return (
        torch.randn(many, 3, 8, 8, generator=g),
        torch.tensor([5, 700]),
        torch.randn(many, length, 12, generator=g),
        mask,
    )


def test_sizes_and_independence_of_the_batch(net: PatchDenoiser) -> None:
    z, t, tokens, mask = inputs()
    both = net(z, t, tokens, mask)
    assert both.shape == z.shape
    for i in range(2):
        alone = net(z[i : i + 1], t[i : i + 1], tokens[i : i + 1], mask[i : i + 1])
        torch.testing.assert_close(alone[0], both[i], rtol=1e-4, atol=1e-5)


def test_masked_tokens_do_not_count_and_others_do(net: PatchDenoiser) -> None:
    z, t, tokens, mask = inputs()
    changed = tokens.clone()
    changed[0, 3:] = 99.0
    torch.testing.assert_close(net(z, t, changed, mask), net(z, t, tokens, mask))
    torch.testing.assert_close(net(z[:1], t[:1], tokens[:1, :3]), net(z[:1], t[:1], tokens[:1], mask[:1]))
    changed[0, 0] = 99.0
    assert not torch.allclose(net(z, t, changed, mask)[0], net(z, t, tokens, mask)[0], atol=1e-3)


def test_a_hook_sees_probabilities_of_every_layer_and_changes_nothing_by_looking(net: PatchDenoiser) -> None:
    z, t, tokens, mask = inputs()
    seen: dict[Site, Tensor] = {}

    def look(site: Site, probabilities: Tensor) -> None:
        seen[site] = probabilities

    torch.testing.assert_close(net(z, t, tokens, mask, look), net(z, t, tokens, mask), rtol=1e-4, atol=1e-5)
    assert [(s.kind, s.number) for s in seen] == [("self", 0), ("cross", 0), ("self", 1), ("cross", 1)]
    for site, p in seen.items():
        assert p.shape == (2, 2, 16, 16 if site.kind == "self" else 5)
        torch.testing.assert_close(p.sum(-1), torch.ones(2, 2, 16))
    assert (seen[Site("cross", "mid", 0)][0, ..., 3:] == 0).all()


def test_replaced_attention_is_what_is_used(net: PatchDenoiser) -> None:
    z, t, tokens, _ = inputs()

    def first_token_alone(site: Site, probabilities: Tensor) -> Tensor | None:
        if site.kind == "self":
            return None
        out = torch.zeros_like(probabilities)
        out[..., 0] = 1
        return out

    torch.testing.assert_close(
        net(z, t, tokens, None, first_token_alone), net(z, t, tokens[:, :1]), rtol=1e-4, atol=1e-5
    )


def test_patches_lie_where_they_lay() -> None:
    net = PatchDenoiser(LAYOUT).eval().requires_grad_(False)
    seen: list[Tensor] = []
    net.stem.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    z = torch.arange(3 * 64).reshape(1, 3, 8, 8).float()
    net(z, torch.tensor([3]), torch.zeros(1, 1, 12))
    assert (seen[0][0, 5].reshape(3, 2, 2) == z[0, :, 2:4, 2:4]).all()  # row 1, column 1 of a grid of 4


def test_waves_of_steps() -> None:
    waves = step_waves(torch.tensor([0, 7]), 4)
    expected = [math.cos(7), math.cos(0.07), math.sin(7), math.sin(0.07)]
    torch.testing.assert_close(waves, torch.tensor([[1.0, 1.0, 0.0, 0.0], expected]), rtol=1e-4, atol=1e-5)


def test_layouts_survive_as_text() -> None:
    assert DenoiserLayout.of({k: str(v) for k, v in LAYOUT.as_dict().items()}) == LAYOUT
    assert DenoiserLayout().grid == 8


def test_what_the_network_says_is_picture_and_noise() -> None:
    g = torch.Generator().manual_seed(0)
    x, eps = torch.rand(5, 3, 4, 4, generator=g) * 2 - 1, torch.randn(5, 3, 4, 4, generator=g)
    a = torch.tensor([0.9999, 0.9, 0.5, 0.1, 4e-5])[:, None, None, None]
    z = a.sqrt() * x + (1 - a).sqrt() * eps
    f = wanted(x, z, a)
    torch.testing.assert_close(denoised(f, z, a), x, rtol=0, atol=1e-4)
    torch.testing.assert_close(noise_in(f, z, a), eps, rtol=0, atol=2e-3)
    torch.testing.assert_close(f[4], x[4], rtol=0, atol=2e-3)  # under much noise: the picture
    torch.testing.assert_close(f[0], -0.15 * eps[0], rtol=0, atol=0.1)  # under little: the noise
