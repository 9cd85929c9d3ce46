"""A prefix for a language model, computed from any number of vectors by learned queries."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.nn.text.likelihood import word_loss
from diptych.nn.text.small_lm import SmallLM


class PrefixAligner(nn.Module):
    """Learned queries attend to the vectors and become token embeddings.

    One post-norm decoder layer (self-attention among the queries, cross-attention, feed-forward), a LayerNorm, and an
    MLP of three layers. W is a multiple of 8, the number of heads.

    Args:
        dim: D of the vectors.
        out: C of the language model.
        width: W inside. If it is not D, a linear map comes first.
        queries: Q, tokens of the prefix.
        hidden: width of the feed-forward layer.

    Source: MacCap, the authors' decoder (a DETR layer) and projection.
    """

    def __init__(
        self,
        dim: int,
        out: int,
        width: int = 512,
        queries: int = 32,
        hidden: int = 2048,
    ) -> None:
        super().__init__()
        self.enter = nn.Identity() if dim == width else nn.Linear(dim, width)
        self.queries = nn.Embedding(queries, width)
        self.layer = nn.TransformerDecoderLayer(width, 8, hidden, 0.1, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out)
        )

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the (B, Q, C) prefix of (B, K, D) vectors; their order does not matter."""
        queries = self.queries.weight.expand(len(vectors), -1, -1)
        prefix: Tensor = self.mlp(self.norm(self.layer(queries, self.enter(vectors))))
        return prefix


def noisy(vectors: Tensor, noise: float, g: torch.Generator) -> Tensor:
    """Return normalise(v + sqrt(noise) eps), of the size of ``vectors``; ``noise`` is the variance s2 a coordinate."""
    return normalize(vectors + noise**0.5 * torch.randn(vectors.shape, generator=g), dim=-1)


def loss_of(lm: SmallLM, aligner: PrefixAligner, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the mean cross-entropy of each word given the words before it and the prefix.

    Args:
        lm: language model.
        aligner: makes the prefix from the noisy copies "c".
        batch: "ids" (B, L), and "c" (B, K, D).
    """
    return {"words": word_loss(lm, batch["ids"], aligner(batch["c"]))}
