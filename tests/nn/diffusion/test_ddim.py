from __future__ import annotations

import pytest
import torch
from torch import Tensor

from diptych.backbones.diffusion.small import SmallDiffusion
from diptych.core import Condition, Site, TextReading, UsageError
from diptych.nn.diffusion.ddim import guided, invert, joined, levels, moved, noise, repeated, sample
from tests.support.diffusion import random_diffusion
from tests.support.small_clip import small_clip


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory: pytest.TempPathFactory) -> SmallDiffusion:
    return random_diffusion(small_clip(tmp_path_factory.mktemp("clip") / "vit"))


class Known:
    """Knows the picture in every latent, as a perfect denoiser of one picture would."""

    size, latent, fingerprint, reading = 4, (3, 4, 4), "known", TextReading()

    def __init__(self) -> None:
        self.picture = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
        self.alphas_cumprod = torch.cumprod(1 - torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64), 0)
        self.asked: list[int] = []

    def encode_text(self, texts: list[str]) -> Condition:
        return Condition(torch.zeros(len(texts), 1, 1))

    def eps(self, z: Tensor, t: Tensor, condition: Condition, hook: object = None) -> Tensor:
        self.asked.append(int(t[0]))
        a = self.alphas_cumprod[t].float()[:, None, None, None]
        return (z - a.sqrt() * self.picture) / (1 - a).sqrt()


def test_a_perfect_denoiser_finds_its_picture_in_any_noise() -> None:
    known = Known()
    c = repeated(known.encode_text([""]), 2)
    start = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    result = sample(known, c, start, steps=5, guidance=1.0)  # type: ignore[arg-type]
    first, last = (float(known.alphas_cumprod[t]) for t in (801, 0))
    left = (start - first**0.5 * known.picture) / (1 - first) ** 0.5  # the noise, of which a_0 leaves a little
    torch.testing.assert_close(result, last**0.5 * known.picture + (1 - last) ** 0.5 * left, rtol=1e-4, atol=1e-4)
    assert known.asked == [801, 601, 401, 201, 1]


def test_inversion_and_sampling_undo_each_other_where_noise_is_known() -> None:
    known = Known()
    z = known.picture + 0.01
    back = invert(known, known.encode_text([""]), z, steps=5)  # type: ignore[arg-type]
    assert known.asked == [1, 201, 401, 601, 801]
    assert len(back.latents) == 6
    assert torch.equal(back.latents[-1], z)
    again = sample(known, known.encode_text([""]), back.top, steps=5, guidance=1.0)  # type: ignore[arg-type]
    torch.testing.assert_close(again, z, rtol=0, atol=0.02)


def test_steps_equal_those_of_diffusers(diffusion: SmallDiffusion) -> None:
    diffusers = pytest.importorskip("diffusers")
    common = {"beta_start": 1e-4, "beta_end": 2e-2, "steps_offset": 1, "set_alpha_to_one": False, "clip_sample": False}
    down, up = diffusers.DDIMScheduler(**common), diffusers.DDIMInverseScheduler(**common)
    down.set_timesteps(10)
    up.set_timesteps(10)
    assert levels(10, 1000) == tuple(down.timesteps.tolist()) == tuple(reversed(up.timesteps.tolist()))
    assert levels(1, 1000) == (1,), "the smallest number of steps"
    c = diffusion.encode_text(["a dog"])
    z = noise(diffusion, 1, torch.Generator().manual_seed(0))

    theirs = z
    for t in down.timesteps:
        theirs = down.step(diffusion.eps(theirs, t[None], c), int(t), theirs).prev_sample
    torch.testing.assert_close(sample(diffusion, c, z, steps=10, guidance=1.0), theirs, rtol=1e-3, atol=1e-3)
    theirs = z
    for t in up.timesteps:
        theirs = up.step(diffusion.eps(theirs, t[None], c), int(t), theirs).prev_sample
    torch.testing.assert_close(invert(diffusion, c, z, steps=10).top, theirs, rtol=1e-3, atol=1e-3)


def test_guidance_goes_away_from_no_text(diffusion: SmallDiffusion) -> None:
    z = noise(diffusion, 2, torch.Generator().manual_seed(0))
    c = diffusion.encode_text(["a dog", "a very long text about a cat"])
    t = torch.tensor([500, 500])
    told, without = diffusion.eps(z, t, c), diffusion.eps(z, t, diffusion.encode_text(["", ""]))
    torch.testing.assert_close(guided(diffusion, z, 500, c, 3.0), without + 3 * (told - without), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(guided(diffusion, z, 500, c, 0.0), without, rtol=1e-3, atol=1e-4)
    assert torch.equal(guided(diffusion, z, 500, c, 1.0), told)


def test_hooks_see_the_told_half_and_the_right_step(diffusion: SmallDiffusion) -> None:
    seen: list[tuple[int, int]] = []

    def at(step: int) -> object:
        def hook(site: Site, probabilities: Tensor) -> None:
            if site == Site("cross", "mid", 0):
                seen.append((step, len(probabilities)))

        return hook

    c, z = diffusion.encode_text(["a dog"]), noise(diffusion, 1, torch.Generator().manual_seed(0))
    plain = sample(diffusion, c, z, steps=3, guidance=2.0)
    hooked = sample(diffusion, c, z, steps=3, guidance=2.0, hooks=at)  # type: ignore[arg-type]
    torch.testing.assert_close(hooked, plain, rtol=1e-3, atol=1e-3)
    assert seen == [(0, 1), (1, 1), (2, 1)]
    seen.clear()
    invert(diffusion, c, z, steps=3, hooks=at)  # type: ignore[arg-type]
    assert seen == [(2, 1), (1, 1), (0, 1)]


def test_a_blend_after_every_step(diffusion: SmallDiffusion) -> None:
    c, z = diffusion.encode_text(["a dog"]), noise(diffusion, 1, torch.Generator().manual_seed(0))
    kept = torch.zeros_like(z)
    result = sample(diffusion, c, z, steps=3, blend=lambda i, latents: kept if i == 2 else latents)
    assert torch.equal(result, kept)


def test_moving_nowhere_and_conditions_of_two_lengths() -> None:
    z, eps = torch.randn(1, 3, 2, 2), torch.randn(1, 3, 2, 2)
    torch.testing.assert_close(moved(z, eps, 0.3, 0.3), z)
    both = joined(Condition(torch.ones(1, 2, 4)), Condition(torch.ones(2, 3, 4)))
    assert both.tokens.shape == (3, 3, 4)
    assert both.mask is not None
    assert both.mask.tolist() == [[True, True, False], [True] * 3, [True] * 3]
    assert joined(Condition(torch.ones(1, 2, 4)), Condition(torch.ones(1, 2, 4))).mask is None


@pytest.mark.parametrize("steps", [0, 1000])
def test_numbers_of_steps_out_of_range_are_named(steps: int) -> None:
    with pytest.raises(UsageError, match=f"got {steps}"):
        levels(steps, 1000)
