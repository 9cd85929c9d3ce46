"""Pipelines of flow matching as a part, which are denoisers of noise too.

    x_s = (1 - s) z_0 + s e                     on a straight line from the latent to noise
    v   = e - z_0                               the velocity, which the transformer predicts from x_s and s

    z_t = x_s / n,   n^2 = (1 - s)^2 + s^2      the same as a ``TextDiffusion`` has it: signal and noise in squares
    a_t = (1 - s)^2 / n^2
    e   = x_s + (1 - s) v

z_0: latent of a picture;  e: normal noise;  s: share of noise, from 1/T to 1, shifted as the scheduler says
a_t: ``alphas_cumprod``

Source: Lipman et al. 2023 and Liu et al. 2023 for the flow; Esser et al. 2024 (Stable Diffusion 3) for the shift.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from diptych.backbones.diffusion.flow_texts import FlowTexts
from diptych.backbones.diffusion.pipelines import Pipeline
from diptych.core import AttentionHook, Condition, MissingHook


@dataclass(frozen=True)
class FlowDiffusion(Pipeline):
    """A pipeline in the layout of Stable Diffusion 3, whose transformer predicts velocities.

    Args:
        transformer: diffusers' SD3Transformer2DModel.
        autoencoder: its AutoencoderKL.
        texts: reads texts.
        sigmas: (T,) share of noise in each step of the training, rising to 1.
        scheduler: configuration of the folder's scheduler.
        folder: from which it was read; "": none.
    """

    transformer: Any
    autoencoder: Any
    texts: FlowTexts
    sigmas: Tensor
    scheduler: Mapping[str, Any] = field(default_factory=dict)
    folder: str = ""

    @property
    def network(self) -> Any:
        """The transformer."""
        return self.transformer

    @property
    def cells(self) -> int:
        """Number of cells of a picture that the transformer sees."""
        side = self.latent[1] // int(self.transformer.config.patch_size)
        return side * side

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        """Share of signal in each step; 0 in the last."""
        s = self.sigmas.double()
        return (1 - s) ** 2 / ((1 - s) ** 2 + s**2)

    def facts(self) -> str:
        """Return what predictions depend on beside weights."""
        pads = [part.tokenizer.pad_token_id for part in self.texts.clip.parts]
        return f"flow/{self.sigmas.tolist()}/{self.texts.width}/{pads}"

    def eps(self, z: Tensor, t: Tensor, condition: Condition, hook: AttentionHook | None = None, /) -> Tensor:
        """Predict the noise.

        Raises:
            MissingHook: a hook is given, and pictures and texts attend to each other in one attention here.
        """
        if hook is not None:
            raise MissingHook(
                "This denoiser has no cross-attention to look at: give a pipeline in the layout of Stable Diffusion 1, "
                "2 or XL, or small."
            )
        s = self.sigmas[t.cpu()].to(z)
        share = s[:, None, None, None]
        x = z * ((1 - share) ** 2 + share**2).sqrt()
        return x + (1 - share) * self.output(x, s * len(self.sigmas), condition)

    def output(self, z: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """Return the velocity in x_s, of the size and precision of z.

        Args:
            z: (B, C, h, w), x_s.
            t: (B,), s T.
            condition: of B texts. Its attention takes no mask, so texts of one length are computed together.
        """
        tokens, mask, pooled = condition.tokens, condition.mask, self.pooled(condition)
        if mask is None:
            return self._velocity(z, t, tokens, pooled)
        out = torch.empty_like(z)
        for kind in torch.unique(mask, dim=0):
            rows = (mask == kind).all(dim=1)
            out[rows] = self._velocity(z[rows], t[rows], tokens[rows][:, kind], pooled[rows])
        return out

    def _velocity(self, x: Tensor, t: Tensor, tokens: Tensor, pooled: Tensor) -> Tensor:
        dtype = self.transformer.dtype
        out: Tensor = self.transformer(
            hidden_states=x.to(dtype),
            timestep=t,
            encoder_hidden_states=tokens.to(dtype),
            pooled_projections=pooled.to(dtype),
        ).sample
        return out.to(x.dtype)
