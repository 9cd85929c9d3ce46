"""Inverses of a scatter with a ridge on it, where there are fewer samples than dimensions."""

from __future__ import annotations

import torch
from torch import Tensor


def ridge_inverse(a: Tensor, ridge: float) -> Tensor:
    """Return ``(a^T a + ridge I)^-1`` by Woodbury's identity: what is solved is (n, n), and D may be thousands.

    Args:
        a: (n, D) float64.
        ridge: above 0.

    Returns:
        (D, D) float64.
    """
    inner = a @ a.T
    inner.diagonal().add_(ridge)
    found: Tensor = a.T @ torch.linalg.solve(inner, a) / -ridge
    found.diagonal().add_(1 / ridge)
    return found
