"""Self-attention between the frames of a clip: what a frame reads lies in others, so that all show the same thing.

    K, V of frame f = those of the tokens of frames f - 1 and 0          (frame -1 is frame 0)

Source: Wu et al. 2023 (Tune-A-Video), sparse-causal attention; used without training as in Qi et al. 2023 (FateZero).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diptych.core import AttentionHook, Condition, TextDiffusion
from diptych.core.diffusion import TextReading, Widened


def sparse_causal(tokens: Tensor, frames: int) -> Tensor:
    """Return what each frame reads: the tokens of the frame before it, and those of the first one.

    Args:
        tokens: (k F, Q, C) of k clips of F frames, such as one with and one without its text.
        frames: F.

    Returns:
        (k F, 2 Q, C).

    Example:
        >>> sparse_causal(torch.tensor([[[1.0]], [[2.0]], [[3.0]]]), 3)[:, :, 0].tolist()
        [[1.0, 1.0], [1.0, 1.0], [2.0, 1.0]]
    """
    clips = tokens.reshape(-1, frames, *tokens.shape[1:])
    before = clips[:, (torch.arange(frames, device=tokens.device) - 1).clamp_min(0)]
    return torch.cat([before, clips[:, :1].expand_as(clips)], dim=2).flatten(0, 1)


@dataclass(frozen=True)
class BetweenFrames(TextDiffusion):
    """A denoiser of pictures as one of clips: frames of a batch read each other, see ``sparse_causal``.

    Args:
        diffusion: of pictures.
        frames: F; a batch has k F latents, clip by clip.
    """

    diffusion: TextDiffusion
    frames: int

    @property
    def size(self) -> int:
        """Side of the pictures."""
        return self.diffusion.size

    @property
    def latent(self) -> tuple[int, int, int]:
        """Size of a latent."""
        return self.diffusion.latent

    @property
    def alphas_cumprod(self) -> Tensor:
        """Share of signal in each step."""
        return self.diffusion.alphas_cumprod

    @property
    def reading(self) -> TextReading | None:
        """How it reads the tokens of a text tower."""
        return self.diffusion.reading

    @property
    def fingerprint(self) -> str:
        """Hash of the denoiser and of the number of frames."""
        return f"{self.diffusion.fingerprint}/{self.frames}"

    def encode_text(self, texts: Sequence[str], /) -> Condition:
        """Return the condition of B texts."""
        return self.diffusion.encode_text(texts)

    def places(self, text: str, words: str, /) -> tuple[int, ...]:
        """Return the positions of words in the condition of a text."""
        return self.diffusion.places(text, words)

    def to_latent(self, pictures: Tensor, /) -> Tensor:
        """Return the latents of pictures."""
        return self.diffusion.to_latent(pictures)

    def from_latent(self, z: Tensor, /) -> Tensor:
        """Return the pictures of latents."""
        return self.diffusion.from_latent(z)

    def eps(self, z: Tensor, t: Tensor, condition: Condition, hook: AttentionHook | None = None, /) -> Tensor:
        """Predict the noise of k F latents; raises MissingHook where the denoiser's attention cannot be changed."""
        return self.diffusion.eps(z, t, condition, Widened(lambda x: sparse_causal(x, self.frames), hook))
