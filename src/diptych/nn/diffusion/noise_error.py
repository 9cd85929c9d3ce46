"""The error of a denoiser: how well it predicts the noise in pictures, told a condition."""

from __future__ import annotations

import torch
from torch import Tensor

from diptych.core import Condition, TextDiffusion


def noise_error(diffusion: TextDiffusion, z: Tensor, condition: Condition, t: Tensor, noise: Tensor) -> Tensor:
    """Return (B,) mean squared errors of the predicted noise. Gradients reach the condition.

    Args:
        diffusion: the denoiser.
        z: (B, C, h, w) latents of pictures.
        condition: of B texts.
        t: (B,) int64 steps.
        noise: (B, C, h, w), added to z at these steps.
    """
    a = diffusion.alphas_cumprod[t.cpu()].to(z)[:, None, None, None]
    noisy = a.sqrt() * z + (1 - a).sqrt() * noise
    return (diffusion.eps(noisy, t, condition) - noise).square().mean((1, 2, 3))


def drawn_noise(diffusion: TextDiffusion, count: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return ``count`` uniform steps (count,), and normal noise (count, C, h, w)."""
    t = torch.randint(len(diffusion.alphas_cumprod), (count,), generator=g)
    return t, torch.randn(count, *diffusion.latent, generator=g)
