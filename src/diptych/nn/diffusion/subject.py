"""Textual inversion: tokens that make a denoiser draw what one picture shows.

    v = argmin  mean over steps t and noise e of |eps(z_t, t, text with v in it) - e|^2,   z_t = picture with noise e

v: (n, C), n tokens of the condition, which begin as those of words

Source: Gal et al. 2022 (textual inversion), equation 2. The tokens are those that the denoiser attends to, after the
text encoder instead of before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diptych.core import Condition, TextDiffusion
from diptych.nn.diffusion.ddim import repeated
from diptych.nn.diffusion.noise_error import drawn_noise, noise_error


def with_tokens(condition: Condition, places: Sequence[int], v: Tensor) -> Condition:
    """Return the condition of one text with the tokens at n places replaced by (n, C) others."""
    tokens = condition.tokens.clone()
    tokens[:, list(places)] = v.to(tokens)
    return Condition(tokens, condition.mask, condition.pooled)


def subject_tokens(
    diffusion: TextDiffusion,
    condition: Condition,
    places: Sequence[int],
    picture: Tensor,
    g: torch.Generator,
    *,
    steps: int,
    rate: float,
    batch: int,
) -> Tensor:
    """Return v, (n, C).

    Args:
        diffusion: the denoiser.
        condition: of one text.
        places: n positions in it.
        picture: (3, size, size) in [0, 1], what v shall stand for.
        g: draws steps and noise.
        steps: of Adam, >= 0; 0 returns the words' own tokens.
        rate: of Adam.
        batch: noisy pictures per step.
    """
    v = condition.tokens[0, list(places)].detach().clone()
    z = diffusion.to_latent(picture[None]).expand(batch, -1, -1, -1)
    v.requires_grad_()
    optimizer = torch.optim.Adam([v], lr=rate)
    # Not the one loop: one picture is looked at, and there is nothing to resume.
    for _ in range(steps):
        t, noise = (drawn.to(z.device) for drawn in drawn_noise(diffusion, batch, g))
        with torch.enable_grad():
            conditions = repeated(with_tokens(condition, places, v), batch)
            (v.grad,) = torch.autograd.grad(noise_error(diffusion, z, conditions, t, noise).mean(), [v])
        optimizer.step()
    return v.detach()
