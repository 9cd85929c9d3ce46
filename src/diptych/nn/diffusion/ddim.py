"""DDIM: deterministic sampling from a denoiser, and its inversion.

    z_0'  = (z_t - sqrt(1 - a_t) eps) / sqrt(a_t)                  the picture that the denoiser sees in z_t
    z_s   = sqrt(a_s) z_0' + sqrt(1 - a_s) eps                     the same at another level of noise, s

Sampling goes down the levels and takes eps at the upper one; inversion goes up and takes eps at the upper one too, at
the latent of the lower, which is what makes it inexact.

    guided: eps = eps(nothing) + w (eps(text) - eps(nothing))

a_t: share of signal at step t;  w: guidance, 1 is none

The levels are those of diffusers' schedulers with ``timestep_spacing="leading"`` and ``steps_offset=1``, and below the
lowest stands a_0, as with ``set_alpha_to_one=False``.

Source: Song et al. 2021 (DDIM), equation 12; Ho and Salimans 2022 (guidance), equation 6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from diptych.core import AttentionHook, Condition, TextDiffusion, UsageError

Hooks = Callable[[int], AttentionHook | None]
"""From the number of a sampling step, from 0, to the hook of that step; None: none."""
Blend = Callable[[int, Tensor], Tensor]
"""From the number of a sampling step and the (B, C, h, w) latents after it to those that go on."""


def levels(steps: int, total: int) -> tuple[int, ...]:
    """Return the steps of the training at which the denoiser is asked, falling: ``steps`` of ``total``.

    Raises:
        UsageError: there are fewer than 1, or more than ``total - 1``.

    Example:
        >>> levels(4, 1000)
        (751, 501, 251, 1)
    """
    if not 1 <= steps < total:
        raise UsageError(f"steps must be in [1, {total - 1}], got {steps}: the denoiser was trained on {total}.")
    return tuple(1 + i * (total // steps) for i in reversed(range(steps)))


def moved(z: Tensor, eps: Tensor, from_a: Tensor | float, to_a: Tensor | float) -> Tensor:
    """Return latents at another level of noise.

    Args:
        z: (B, C, h, w) latents.
        eps: the noise in them, of the same size.
        from_a: share of signal now, in (0, 1].
        to_a: share of signal afterwards.
    """
    now, then = (torch.as_tensor(a, dtype=z.dtype, device=z.device) for a in (from_a, to_a))
    return then.sqrt() * ((z - (1 - now).sqrt() * eps) / now.sqrt()) + (1 - then).sqrt() * eps


def joined(first: Condition, second: Condition) -> Condition:
    """Return the conditions of both batches, the shorter tokens padded and masked."""
    length = max(first.tokens.shape[1], second.tokens.shape[1])
    tokens, masks = [], []
    for c in (first, second):
        short = length - c.tokens.shape[1]
        mask = torch.ones(c.tokens.shape[:2], dtype=torch.bool, device=c.tokens.device) if c.mask is None else c.mask
        tokens.append(pad(c.tokens, (0, 0, 0, short)))
        masks.append(pad(mask, (0, short), value=False))
    mask = torch.cat(masks)
    vectors = [c.pooled for c in (first, second) if c.pooled is not None]
    pooled = torch.cat(vectors) if len(vectors) == 2 else None
    return Condition(torch.cat(tokens), None if bool(mask.all()) else mask, pooled)


def repeated(condition: Condition, count: int) -> Condition:
    """Return the condition of one text for ``count`` pictures."""
    mask, pooled = (None if t is None else t.expand(count, -1) for t in (condition.mask, condition.pooled))
    return Condition(condition.tokens.expand(count, -1, -1), mask, pooled)


def guided(
    diffusion: TextDiffusion,
    z: Tensor,
    t: int,
    condition: Condition,
    guidance: float = 1.0,
    hook: AttentionHook | None = None,
    away: Condition | None = None,
) -> Tensor:
    """Predict the noise, away from what is predicted without a text.

    Args:
        diffusion: the denoiser.
        z: (B, C, h, w) latents.
        t: their step.
        condition: of B texts.
        guidance: w, >= 0; 1 asks the denoiser once.
        hook: sees and replaces the attention of the B pictures with their texts, not of those without.
        away: condition of one text or of B, away from which it goes; None: that of no text.
    """
    many, device = len(z), z.device
    if guidance == 1.0:
        return diffusion.eps(z, torch.full((many,), t, device=device), condition, hook)
    nothing = repeated(diffusion.encode_text([""]) if away is None else away, many)

    def only_told(site: object, probabilities: Tensor) -> Tensor | None:
        assert hook is not None
        replaced = hook(site, probabilities[many:])  # type: ignore[arg-type]
        return None if replaced is None else torch.cat([probabilities[:many], replaced.to(probabilities)])

    both = diffusion.eps(
        torch.cat([z, z]),
        torch.full((2 * many,), t, device=device),
        joined(nothing, condition),
        None if hook is None else only_told,
    )
    without, conditioned = both.chunk(2)
    return without + guidance * (conditioned - without)


def noise(diffusion: TextDiffusion, count: int, g: torch.Generator) -> Tensor:
    """Return (count, C, h, w) normal latents, from which sampling starts."""
    return torch.randn(count, *diffusion.latent, generator=g)


@torch.no_grad()
def sample(
    diffusion: TextDiffusion,
    condition: Condition,
    z: Tensor,
    *,
    steps: int = 25,
    guidance: float = 3.0,
    away: Condition | None = None,
    hooks: Hooks | None = None,
    blend: Blend | None = None,
) -> Tensor:
    """Take the noise from latents, step by step.

    Args:
        diffusion: the denoiser.
        condition: of B texts.
        z: (B, C, h, w) latents at the highest level, see ``noise``.
        steps: number of them.
        guidance: see ``guided``.
        away: see ``guided``.
        hooks: sees and replaces attention, step by step.
        blend: changes the latents after each step.

    Returns:
        (B, C, h, w) latents of pictures.
    """
    a, ts = diffusion.alphas_cumprod, levels(steps, len(diffusion.alphas_cumprod))
    z = z.to(condition.tokens.device)
    if away is None and guidance != 1.0:
        away = diffusion.encode_text([""])
    for i, t in enumerate(ts):
        eps = guided(diffusion, z, t, condition, guidance, hooks(i) if hooks else None, away)
        z = moved(z, eps, float(a[t]), float(a[ts[i + 1]] if i + 1 < len(ts) else a[0]))
        if blend is not None:
            z = blend(i, z)
    return z


@dataclass(frozen=True)
class Inverted:
    """The way of pictures up to noise.

    Args:
        latents: (steps + 1) latents (B, C, h, w): ``latents[i]`` is where step i of sampling starts, the last is the
            pictures' own.
    """

    latents: tuple[Tensor, ...]

    @property
    def top(self) -> Tensor:
        """The latents from which sampling gives the pictures back."""
        return self.latents[0]


@torch.no_grad()
def invert(
    diffusion: TextDiffusion, condition: Condition, z: Tensor, *, steps: int = 25, hooks: Hooks | None = None
) -> Inverted:
    """Find the noise from which sampling without guidance gives pictures back, nearly.

    Args:
        diffusion: the denoiser.
        condition: of B texts, what the pictures show.
        z: (B, C, h, w) latents of pictures.
        steps: number of them, the same as in sampling.
        hooks: sees attention, by the number of the SAMPLING step that comes back over the same level: the first step of
            the inversion has the number steps - 1.
    """
    a, ts = diffusion.alphas_cumprod, levels(steps, len(diffusion.alphas_cumprod))
    z = z.to(condition.tokens.device)
    latents = [z]
    for i in reversed(range(steps)):
        eps = guided(diffusion, z, ts[i], condition, hook=hooks(i) if hooks else None)
        z = moved(z, eps, float(a[ts[i + 1]] if i + 1 < len(ts) else a[0]), float(a[ts[i]]))
        latents.append(z)
    return Inverted(tuple(reversed(latents)))
