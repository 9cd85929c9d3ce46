"""The key-value cache of Tip-Adapter: stored image features vote for their labels. Shared by all cache systems.

Source: Zhang et al., "Tip-Adapter" (ECCV 2022), sections 3.1 and 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from diptych.features.mixing import CELLS, hits


def cache_keys(views: Tensor) -> Tensor:
    """Return (M, D) unit keys of (M, A, D) embeddings: the mean over A views, before normalising, normalised."""
    return normalize(views.float().mean(dim=1), dim=-1)


def affinity(similarity: Tensor, beta: float | Tensor) -> Tensor:
    """Return ``exp(-beta (1 - a))``, elementwise, of similarities ``a``: 1 where a = 1, and 1 everywhere where beta = 0."""
    return torch.exp(-beta * (1 - similarity))


def cache_logits(x: Tensor, keys: Tensor, labels: Tensor, classes: int, beta: float) -> Tensor:
    """Let the keys vote: ``exp(-beta (1 - x F^T)) L``.

    Args:
        x: (N, D) unit embeddings.
        keys: (M, D) keys F; unit vectors, unless they were trained.
        labels: (M,) int64 class positions; L is their one-hot matrix.
        classes: K.
        beta: sharpness, >= 0.

    Returns:
        (N, K) votes, >= 0.
    """
    values = one_hot(labels, classes).to(x.dtype)
    rows = max(1, CELLS // len(keys))
    return torch.cat([affinity(part @ keys.T, beta) @ values for part in torch.split(x, rows)])


def cache_hits(x: Tensor, base: Tensor, y: Tensor, keys: Tensor, labels: Tensor, betas: Tensor, alphas: Tensor) -> Tensor:
    """Count right answers of ``base + alpha * cache_logits(beta)`` on a grid, in bounded memory.

    Args:
        x: (N, D) unit embeddings of held-out items.
        base: (N, K) zero-shot logits of the same items.
        y: (N,) their class positions.
        keys: (M, D).
        labels: (M,) class positions of the keys.
        betas: (b,) ascending.
        alphas: (a,) ascending.

    Returns:
        (b, a) int64 counts.
    """
    values = one_hot(labels, base.shape[1]).to(x.dtype)
    counts = torch.zeros(len(betas), len(alphas), dtype=torch.int64, device=x.device)
    rows = max(1, CELLS // max(len(keys), len(alphas) * base.shape[1]))
    for part, zero_shot, right in zip(*(torch.split(t, rows) for t in (x, base, y)), strict=True):
        similarity = part @ keys.T
        for i, beta in enumerate(betas):
            counts[i] += hits(zero_shot, affinity(similarity, beta) @ values, right, alphas)
    return counts


def grid(stop: float, steps: int) -> Tensor:
    """Return ``0.1 + i (stop - 0.1) / steps`` for i = 0 .. steps - 1: the authors' grid, its end left out."""
    return 0.1 + torch.arange(steps, dtype=torch.float32) * ((stop - 0.1) / steps)
