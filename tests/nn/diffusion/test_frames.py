"""Frames that read each other: limit cases, and a layer against its formula."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from diptych.backbones.diffusion.patch_denoiser import Attention
from diptych.core import Site, TextDiffusion
from diptych.core.diffusion import Widened
from diptych.nn.diffusion.ddim import guided, repeated
from diptych.nn.diffusion.frames import BetweenFrames, sparse_causal
from tests.support.diffusion import random_diffusion
from tests.support.small_clip import small_clip

F, T = 4, 400


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory: pytest.TempPathFactory) -> TextDiffusion:
    return random_diffusion(small_clip(tmp_path_factory.mktemp("clip") / Path("vit")))


def latents(diffusion: TextDiffusion, seed: int = 0) -> Tensor:
    return torch.randn(F, *diffusion.latent, generator=torch.Generator().manual_seed(seed))


def eps(diffusion: TextDiffusion, z: Tensor) -> Tensor:
    with torch.no_grad():
        return diffusion.eps(z, torch.full((len(z),), T), repeated(diffusion.encode_text(["a red star"]), len(z)))


def test_equal_frames_are_denoised_as_pictures_are(diffusion: TextDiffusion) -> None:
    z = latents(diffusion)[:1].expand(F, -1, -1, -1)
    torch.testing.assert_close(eps(BetweenFrames(diffusion, F), z), eps(diffusion, z), rtol=1e-5, atol=1e-6)


def test_a_frame_reads_the_first_and_the_one_before(diffusion: TextDiffusion) -> None:
    clip, z = BetweenFrames(diffusion, F), latents(diffusion)
    before = eps(clip, z)
    assert not torch.allclose(before, eps(diffusion, z), atol=1e-4)
    for k in range(F):
        other = z.clone()
        other[k] = latents(diffusion, 1)[k]
        changed = [not torch.allclose(a, b, atol=1e-5) for a, b in zip(before, eps(clip, other), strict=True)]
        if k == 0:
            assert all(changed)
        else:  # a network of several layers passes a change on, one frame a layer
            assert not any(changed[:k])
            assert changed[k]
    last = z.clone()
    last[-1] = latents(diffusion, 1)[-1]
    assert torch.equal(eps(clip, last)[:-1], before[:-1])


def test_clips_of_one_batch_do_not_read_each_other(diffusion: TextDiffusion) -> None:
    clip = BetweenFrames(diffusion, F)
    both = eps(clip, torch.cat([latents(diffusion), latents(diffusion, 5)]))
    torch.testing.assert_close(both[F:], eps(clip, latents(diffusion, 5)), rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        guided_eps = guided(clip, latents(diffusion), T, repeated(clip.encode_text(["a red star"]), F), 2.0)
        nothing = clip.eps(latents(diffusion), torch.full((F,), T), repeated(clip.encode_text([""]), F))
    torch.testing.assert_close(
        guided_eps, nothing + 2 * (eps(clip, latents(diffusion)) - nothing), rtol=1e-4, atol=1e-5
    )


def test_a_layer_against_its_formula() -> None:
    torch.manual_seed(0)
    layer, h, site = Attention(6, 6, heads=1), torch.randn(3, 5, 6), Site("self", "mid", 0)
    seen: list[Tensor] = []
    hook = Widened(lambda x: sparse_causal(x, 3), lambda _, p: seen.append(p))  # type: ignore[func-returns-value]
    out = layer(h, h, None, site, hook)
    for f in range(3):
        read = torch.cat([h[max(f - 1, 0)], h[0]])
        k, v = layer.kv(read).chunk(2, dim=-1)
        p = (layer.q(h[f]) @ k.T / math.sqrt(6)).softmax(-1)
        torch.testing.assert_close(out[f], layer.out(p @ v))
        torch.testing.assert_close(seen[0][f, 0], p)
    across = Site("cross", "mid", 0)
    torch.testing.assert_close(layer(h, h, None, across, hook), layer(h, h, None, across, lambda _, p: None))


def test_what_it_does_not_change_is_the_denoisers(diffusion: TextDiffusion) -> None:
    clip = BetweenFrames(diffusion, F)
    assert (clip.size, clip.latent, clip.reading) == (diffusion.size, diffusion.latent, diffusion.reading)
    assert torch.equal(clip.alphas_cumprod, diffusion.alphas_cumprod)
    assert clip.fingerprint not in (diffusion.fingerprint, BetweenFrames(diffusion, 2).fingerprint)
    assert clip.places("a red star", "star") == diffusion.places("a red star", "star")
    pictures = torch.rand(2, 3, clip.size, clip.size)
    torch.testing.assert_close(clip.from_latent(clip.to_latent(pictures)), pictures, atol=1e-5, rtol=0)
