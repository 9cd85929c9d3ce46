"""The likelihood of sentences under a language model, as a loss; what is known of an image is a prefix or a memory."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from diptych.core import LanguageModel
from diptych.nn.text.vocabulary import PAD, Vocabulary


def padded_ids(vocabulary: Vocabulary, text: str, limit: int) -> Tensor:
    """Return the (limit + 2,) ids of a sentence with begin and end; a longer one is cut and has no end.

    Example:
        >>> padded_ids(Vocabulary.of(["a cat"]), "a cat", limit=3).tolist()
        [1, 4, 5, 2, 0]
    """
    ids = vocabulary.encode(text, limit)
    return torch.tensor([*ids, *[PAD] * (limit + 2 - len(ids))])


def word_loss(lm: LanguageModel, ids: Tensor, prefix: Tensor | None = None, memory: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy of each word given the words before it; prefix and padding are not predicted.

    Args:
        lm: language model.
        ids: (B, L) begin, words, end, padding.
        prefix: (B, Q, C) token embeddings before the sentence; None: there are none.
        memory: (B, M, D) vectors for cross-attention; None: the model has none.
    """
    ids = ids[:, : int((ids != PAD).sum(1).max())]  # padding is not predicted, so the longest sentence is enough
    embeds, real = lm.embed(ids[:, :-1]), ids[:, :-1] != PAD
    if prefix is not None:
        embeds, real = torch.cat([prefix, embeds], dim=1), torch.cat([real.new_ones(prefix.shape[:2]), real], dim=1)
    logits = lm.logits(embeds, real, memory, None)[0][:, -ids.shape[1] + 1 :]
    return cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=PAD)


def loss_behind_zeros(lm: LanguageModel, ids: Tensor, length: int) -> Tensor:
    """Return ``word_loss`` of sentences that stand behind ``length`` zero embeddings, >= 0.

    A model with learned positions that will be frozen behind a prefix must learn this way: without the zeros, no
    position of the prefix is trained, and later words would stand at positions that were never trained or mean others.

    Args:
        lm: language model.
        ids: (B, L) begin, words, end, padding.
        length: of the prefix that will stand there.
    """
    return word_loss(lm, ids, torch.zeros(len(ids), length, lm.width, device=ids.device))
