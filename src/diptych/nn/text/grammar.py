"""Whether a caption is grammatical, learnt from captions and corrupted copies of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softmax


class GrammarHead(nn.Module):
    """The probability that a text is grammatical, from its unit embedding.

    Two linear maps without bias and a ReLU between them. The embedding is scaled to length sqrt(D) first.

    Args:
        dim: D of the embedding.

    Source: Cho et al. 2022, section 3.3; the authors' head reads the feature before the projection.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.layers = nn.Sequential(nn.Linear(dim, dim, bias=False), nn.ReLU(), nn.Linear(dim, 2, bias=False))

    def forward(self, t: Tensor) -> Tensor:
        """Return (..., 2) logits of (..., D) unit embeddings: corrupted, grammatical."""
        logits: Tensor = self.layers(t * self.dim**0.5)
        return logits

    def probability(self, t: Tensor) -> Tensor:
        """Return (...,) the probability of "grammatical"."""
        return softmax(self(t), dim=-1)[..., 1]


def grammar_loss(head: GrammarHead, t: Tensor) -> Tensor:
    """Return the mean cross-entropy of (B, 2, D) unit embeddings: a sentence, and a corrupted copy of it."""
    logits = head(t)
    return cross_entropy(logits.flatten(0, 1), torch.tensor([1, 0], device=logits.device).repeat(len(logits)))


def balanced_accuracy(head: GrammarHead, good: Tensor, bad: Tensor) -> float:
    """Return the mean of the shares of (N, D) sentences and of (N, K, D) corrupted copies that a head tells right."""
    with torch.no_grad():
        shares = (head.probability(good) > 0.5).float().mean(), (head.probability(bad) <= 0.5).float().mean()
    return float((shares[0] + shares[1]) / 2)
