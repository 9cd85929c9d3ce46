"""Choose, on held-out items, how much of a second classifier is added to the zero-shot one."""

from __future__ import annotations

import torch
from torch import Tensor

CELLS = 1 << 22
"""Numbers that one step of a search may hold at once (16 MiB of float32)."""


def hits(base: Tensor, extra: Tensor, labels: Tensor, alphas: Tensor) -> Tensor:
    """Count the items that ``base + alpha * extra`` classifies correctly, for every alpha.

    Args:
        base: (N, K) logits, usually of the zero-shot classifier.
        extra: (N, K) logits of the other classifier.
        labels: (N,) int64 class positions.
        alphas: (A,) weights.

    Returns:
        (A,) int64 counts.
    """
    total = torch.zeros(len(alphas), dtype=torch.int64, device=base.device)
    rows = max(1, CELLS // (len(alphas) * base.shape[1]))
    for b, e, y in zip(*(torch.split(t, rows) for t in (base, extra, labels)), strict=True):
        mixed = b + alphas[:, None, None] * e
        total += (mixed.argmax(dim=2) == y).sum(dim=1)
    return total


def first_best(counts: Tensor) -> tuple[int, ...]:
    """Return the position of the largest count; of ties the first, so the smallest value of an ascending grid.

    Args:
        counts: counts on a grid of any number of axes.
    """
    return tuple(int(i) for i in (counts == counts.max()).nonzero()[0])
