"""A prefix for a language model from an image and the words of a user: query-guided mapping, then fusion (UAPT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from diptych.core import LanguageModel
from diptych.nn.text.likelihood import word_loss
from diptych.nn.text.vocabulary import PAD, Vocabulary


class UserPrefix(nn.Module):
    """Learned queries attend to the tokens of an image, and mix with the embedded words of a user.

    Mapping: pre-norm decoder layers, self-attention among K queries and cross-attention to the image tokens. Fusion:
    pre-norm encoder layers over the K queries and the words; the first K outputs are the prefix. A learned vector is
    added to the words.

    Args:
        dim: D of the image tokens.
        out: C of the language model, a multiple of ``heads``.
        queries: K, tokens of the prefix.

    Source: Wang et al. 2023, sections 3.2 and 3.3; sizes of a layer after ClipCap (MLP twice as wide, ReLU, pre-norm).

    Example:
        >>> prefix = UserPrefix(dim=6, out=8, queries=2, mapping=1, fusion=1)
        >>> prefix(torch.randn(3, 5, 6), torch.randn(3, 4, 8), torch.ones(3, 4, dtype=torch.bool)).shape
        torch.Size([3, 2, 8])
    """

    def __init__(
        self, dim: int, out: int, queries: int = 10, mapping: int = 8, fusion: int = 4, heads: int = 4
    ) -> None:
        super().__init__()
        more = {"dim_feedforward": 2 * out, "dropout": 0.0, "batch_first": True, "norm_first": True}
        self.enter = nn.Linear(dim, out)
        self.queries = nn.Parameter(0.02 * torch.randn(queries, out))
        self.user = nn.Parameter(torch.zeros(out))
        self.mapping = nn.TransformerDecoder(nn.TransformerDecoderLayer(out, heads, **more), mapping)  # type: ignore[arg-type]
        self.fusion = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(out, heads, **more),  # type: ignore[arg-type]
            fusion,
            enable_nested_tensor=False,
        )

    def forward(self, tokens: Tensor, words: Tensor, known: Tensor) -> Tensor:
        """Return the (B, K, C) prefix.

        Args:
            tokens: (B, T, D) image tokens.
            words: (B, M, C) words of the user, embedded by the language model.
            known: (B, M) bool, False for padding; a row without a word stands for no user.
        """
        p = self.mapping(self.queries.expand(len(tokens), -1, -1), self.enter(tokens))
        padding = torch.cat([known.new_zeros(p.shape[:2]), ~known], dim=1)
        mixed: Tensor = self.fusion(torch.cat([p, words + self.user], dim=1), src_key_padding_mask=padding)
        return mixed[:, : p.shape[1]]


def prefix_loss(lm: LanguageModel, prefix: UserPrefix, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the mean cross-entropy of the words of captions after their prefix.

    Args:
        lm: any language model; only gradients of the prefix are used.
        prefix: mapping and fusion.
        batch: "ids" (B, L), "tokens" (B, T, D), and "context" (B, M) ids of the user's words, padded with 0.
    """
    context = batch["context"]
    prefixes = prefix(batch["tokens"], lm.embed(context), context != PAD)
    return {"words": word_loss(lm, batch["ids"], prefixes)}


def context_ids(vocabulary: Vocabulary, words: Sequence[str], most: int) -> Tensor:
    """Return the (max(1, most),) ids of a user's words, padded with 0."""
    ids = [vocabulary.number[word] for word in words]
    return torch.tensor([*ids, *[PAD] * (max(1, most) - len(ids))])
