"""How Stable Diffusion 3 reads texts: two text encoders of CLIP, and the encoder of T5 or nothing in its place.

    condition = [ CLIP's tokens, filled with zeros up to the width ; T5's tokens ]

CLIP's tokens are those of ``pipeline_texts``, in chunks where a text is long; T5 reads the first 256 tokens of a text,
padding included. A folder without T5 has zeros there, as in diffusers.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from diptych.backbones.diffusion.pipeline_texts import PipelineTexts
from diptych.core import Condition

T5_TOKENS = 256
"""Tokens that T5 reads of a text, as in diffusers' pipeline; the model was trained with 77."""


@dataclass(frozen=True)
class T5Part:
    """The encoder of T5 with its tokenizer.

    Args:
        encoder: transformers' T5EncoderModel.
        tokenizer: its T5TokenizerFast.
    """

    encoder: Any
    tokenizer: Any

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return (B, 256, C) tokens of B texts. Padding is encoded and attended to, as in diffusers' pipeline."""
        longest = max((len(row) for row in self.tokenizer(list(texts), verbose=False)["input_ids"]), default=0)
        if longest > T5_TOKENS:
            warnings.warn(f"T5 reads the first {T5_TOKENS} of a text's {longest} tokens.", stacklevel=2)
        ids = self.tokenizer(
            list(texts), padding="max_length", max_length=T5_TOKENS, truncation=True, return_tensors="pt"
        ).input_ids
        return self.encoder(ids.to(self.encoder.device)).last_hidden_state


@dataclass(frozen=True)
class FlowTexts:
    """All text encoders of Stable Diffusion 3.

    Args:
        clip: its two text encoders of CLIP, with their pooled vectors.
        t5: the third; None: zeros take the place of its tokens.
        width: of a token of a condition, as the denoiser reads it.
    """

    clip: PipelineTexts
    t5: T5Part | None
    width: int

    @property
    def encoders(self) -> tuple[Any, ...]:
        """The networks."""
        return (*self.clip.encoders, *([] if self.t5 is None else [self.t5.encoder]))

    @property
    def reading(self) -> None:
        """None: there are several text encoders."""

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Condition:
        """Return the condition of B texts. Where one has fewer chunks than another, a mask leaves out what it lacks."""
        read = self.clip.encode(texts)
        tokens = pad(read.tokens, (0, self.width - read.tokens.shape[-1]))
        if self.t5 is None:
            more = tokens.new_zeros(len(texts), T5_TOKENS, self.width)
        else:
            more = self.t5.encode(texts).to(tokens)
        mask = None if read.mask is None else pad(read.mask, (0, T5_TOKENS), value=True)
        return Condition(torch.cat([tokens, more], dim=1), mask, read.pooled)

    def places(self, text: str, words: str) -> tuple[int, ...]:
        """Return the positions of CLIP's tokens of ``words``; T5's tokens of them are not among these."""
        return self.clip.places(text, words)
