"""Masked language modelling in a text tower: which words are masked, how images help, and the head over the tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


def words_in(ids: Tensor, empty: Tensor) -> Tensor:
    """Return the (B, T) tokens that are words: those whose ids an empty text has not, as start, end or padding.

    Args:
        ids: (B, T) token ids.
        empty: (1, T') ids of the text "", by the same tokenizer.

    Example:
        A tokenizer with start 1, end 2 and padding 0, and one without a start whose padding is its end, 1:

        >>> words_in(torch.tensor([[1, 5, 6, 2, 0]]), torch.tensor([[1, 2, 0, 0, 0]])).tolist()
        [[False, True, True, False, False]]
        >>> words_in(torch.tensor([[5, 6, 1, 1]]), torch.tensor([[1, 1, 1, 1]])).tolist()
        [[True, True, False, False]]
    """
    return ~torch.isin(ids, empty.to(ids.device))


@dataclass(frozen=True)
class Masked:
    """Texts of which some words are masked.

    Args:
        ids: (B, T) with random words in some places.
        predicted: (B, T) bool, the words that a model predicts.
        blank: (B, T) bool, those of them for which the vector of the mask stands.
    """

    ids: Tensor
    predicted: Tensor
    blank: Tensor


def mask_words(ids: Tensor, words: Tensor, share: float, g: torch.Generator) -> Masked:
    """Draw the words that are predicted: each with a probability, and at least one of each text that has words.

    Eight in ten are blank, one in ten is another word of the batch, and one in ten stays.

    Args:
        ids: (B, T) token ids.
        words: (B, T) bool, see ``words_in``.
        share: probability, in [0, 1].
        g: CPU generator.

    Source: Devlin et al. 2019 (BERT), section 3.1; that a text has at least one is ours.
    """
    draw, kind = (torch.rand(ids.shape, generator=g).to(ids.device) for _ in range(2))
    least = draw.masked_fill(~words, 2.0)
    predicted = words & ((draw < share) | (least == least.amin(1, keepdim=True)))
    pool = ids[words] if bool(words.any()) else ids.flatten()
    others = pool[torch.randint(len(pool), ids.shape, generator=g).to(ids.device)]
    swapped = predicted & (kind >= 0.8) & (kind < 0.9)
    return Masked(torch.where(swapped, others, ids), predicted, predicted & (kind < 0.8))


class WordModel(nn.Module):
    """What masked language modelling adds to a text tower.

    After some blocks, text tokens attend to image tokens:

        h <- h + gate_k attention_k(norm_k(h), image, image)

    The logits of a word are a small network of its token, times the table of token embeddings (a tied head).

    Args:
        width: C of the text tokens.
        heads: of the cross-attention, a divisor of C.
        image_width: C' of the image tokens.
        vocabulary: V.

    Attributes:
        blank: (C,) embedding that stands for masked words.
        gates: (blocks,), 0 at the start, when the image has no effect.

    Source: Devlin et al. 2019 (BERT) for the head; the gates after Alayrac et al. 2022 (Flamingo).
    """

    def __init__(self, width: int, heads: int, image_width: int, blocks: tuple[int, ...], vocabulary: int) -> None:
        super().__init__()
        self.places = blocks
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in blocks)
        self.attentions = nn.ModuleList(
            nn.MultiheadAttention(width, heads, kdim=image_width, vdim=image_width, batch_first=True) for _ in blocks
        )
        self.gates = nn.Parameter(torch.zeros(len(blocks)))
        self.blank = nn.Parameter(torch.randn(width) * 0.02)
        self.transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def fused(self, block: int, h: Tensor, image: Tensor) -> Tensor:
        """Return the (B, T, C) text tokens after a block that attends to (B, P, C') image tokens; others stay."""
        if block not in self.places:
            return h
        k = self.places.index(block)
        attended: Tensor = self.attentions[k](self.norms[k](h), image, image, need_weights=False)[0]
        return h + self.gates[k] * attended

    def logits(self, h: Tensor, table: Tensor) -> Tensor:
        """Return (M, V) logits of (M, C) tokens by the (V, C) table of token embeddings."""
        transformed: Tensor = self.transform(h)
        return transformed @ table.T + self.bias


def thirds(depth: int) -> tuple[int, ...]:
    """Return the last blocks of each third of a tower, from 0.

    Example:
        >>> thirds(12), thirds(3), thirds(1)
        ((3, 7, 11), (0, 1, 2), (0,))
    """
    return tuple(sorted({max(0, round(depth * k / 3) - 1) for k in (1, 2, 3)}))
