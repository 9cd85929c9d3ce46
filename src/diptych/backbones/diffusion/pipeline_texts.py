"""How a pipeline reads texts: one text encoder or two, in chunks where a text is longer than their context.

A text encoder reads ``context`` tokens: the start token, up to ``context - 2`` tokens of the text, the end token, and
padding. A longer text is cut into chunks of ``context - 2`` tokens, 75 for CLIP, each with a start and an end token of
its own, and the denoiser attends to the tokens of all chunks. This is common practice and no paper's. The pooled vector
is that of the first chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from diptych.core import Condition, TextReading


class Texts(Protocol):
    """All text encoders of a pipeline."""

    @property
    def encoders(self) -> tuple[Any, ...]:
        """The networks."""

    @property
    def reading(self) -> TextReading | None:
        """How one text tower is read; None where there are several."""

    def encode(self, texts: Sequence[str]) -> Condition:
        """Return the condition of B texts."""

    def places(self, text: str, words: str) -> tuple[int, ...]:
        """Return the positions of the tokens of ``words`` in the condition of ``text``, all occurrences."""


@dataclass(frozen=True)
class TextPart:
    """One text encoder with its tokenizer.

    Args:
        encoder: transformers' CLIPTextModel, or CLIPTextModelWithProjection, which has a pooled vector.
        tokenizer: its CLIPTokenizer.
        penultimate: whether the denoiser reads the hidden states before the last block, without a norm; else the last
            hidden states after the final norm.
    """

    encoder: Any
    tokenizer: Any
    penultimate: bool = False

    @property
    def context(self) -> int:
        """Tokens that the encoder reads."""
        return int(self.encoder.config.max_position_embeddings)

    @property
    def width(self) -> int:
        """Width of a token."""
        return int(self.encoder.config.hidden_size)

    def content(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of texts, without start and end."""
        return [row[1:-1] for row in self.tokenizer(list(texts), verbose=False)["input_ids"]]

    def chunks(self, content: Sequence[int], count: int) -> list[list[int]]:
        """Return ``count`` rows of ``context`` ids with the content in its order; the last may be without content."""
        start, end, pad = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id, self.tokenizer.pad_token_id
        size, rows = self.context - 2, []
        for i in range(count):
            row = [start, *content[i * size : (i + 1) * size], end]
            rows.append([*row, *[pad] * (self.context - len(row))])
        return rows

    def encode(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor | None]:
        """Return (N, context, C) tokens of N rows of ids, and the (N, P) pooled vectors of an encoder that has them."""
        ids = torch.tensor(rows, device=self.encoder.device)
        out = self.encoder(ids, output_hidden_states=self.penultimate)
        tokens = out.hidden_states[-2] if self.penultimate else out.last_hidden_state
        return tokens, getattr(out, "text_embeds", None)


@dataclass(frozen=True)
class PipelineTexts:
    """All text encoders of a pipeline; their tokens are joined along the width, and their pooled vectors too.

    Args:
        parts: one or two.
        empty_is_zero: whether all numbers of the condition of "" are 0, as in SDXL.
    """

    parts: tuple[TextPart, ...]
    empty_is_zero: bool = False

    @property
    def encoders(self) -> tuple[Any, ...]:
        """The networks."""
        return tuple(part.encoder for part in self.parts)

    @property
    def reading(self) -> TextReading | None:
        """How one text tower is read; None where there are several, or where the layer has no norm."""
        if len(self.parts) > 1 or self.parts[0].penultimate:
            return None
        part = self.parts[0]
        return TextReading(part.context, int(part.tokenizer.pad_token_id), int(part.encoder.config.num_hidden_layers))

    @property
    def width(self) -> int:
        """Width of a token of a condition."""
        return sum(part.width for part in self.parts)

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Condition:
        """Return the condition of B texts. Where one has fewer chunks than another, a mask leaves out what it lacks."""
        content = [part.content(texts) for part in self.parts]
        counts = [max(self._chunks(part, rows[i]) for part, rows in zip(self.parts, content, strict=True))
               for i in range(len(texts))]  # fmt: skip
        most = max(counts, default=1)
        tokens, pooled = [], []
        for part, rows in zip(self.parts, content, strict=True):
            ids = [chunk for row in rows for chunk in part.chunks(row, most)]
            out, vectors = part.encode(ids)
            tokens.append(out.reshape(len(texts), most * part.context, -1))
            if vectors is not None:
                pooled.append(vectors.reshape(len(texts), most, -1)[:, 0])
        read = torch.cat(tokens, dim=-1)
        vector = torch.cat(pooled, dim=-1) if pooled else None
        if self.empty_is_zero:
            empty = torch.tensor([not text for text in texts], device=read.device)
            read = read.masked_fill(empty[:, None, None], 0.0)
            vector = None if vector is None else vector.masked_fill(empty[:, None], 0.0)
        mask = None
        if min(counts, default=1) < most:
            lengths = torch.tensor(counts, device=read.device) * (read.shape[1] // most)
            mask = torch.arange(read.shape[1], device=read.device) < lengths[:, None]
        return Condition(read, mask, vector)

    @staticmethod
    def _chunks(part: TextPart, content: Sequence[int]) -> int:
        return max(1, -(-len(content) // (part.context - 2)))

    def places(self, text: str, words: str) -> tuple[int, ...]:
        """Return the positions of the tokens of ``words`` in the condition of ``text``, all occurrences."""
        part = self.parts[0]
        whole, sought = part.content([text, words])
        size = part.context - 2
        starts = [i for i in range(len(whole) - len(sought) + 1) if sought and whole[i : i + len(sought)] == sought]
        at = [i + k for i in starts for k in range(len(sought))]
        return tuple(i // size * part.context + 1 + i % size for i in at)
