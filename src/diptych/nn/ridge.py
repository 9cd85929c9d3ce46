"""Inverses of a scatter matrix plus a ridge, where there are fewer samples than dimensions."""

from __future__ import annotations

import torch
from torch import Tensor


def ridge_inverse(a: Tensor, ridge: float) -> Tensor:
    """Return ``(a^T a + ridge I)^-1`` by Woodbury's identity.

    Only an (n, n) system is solved, so D may be thousands.

    Args:
        a: (n, D) float64.
        ridge: > 0.

    Returns:
        (D, D) float64.

    Example:
        >>> import torch
        >>> a = torch.tensor([[3.0, 0.0]], dtype=torch.float64)  # a^T a + I has the diagonal (10, 1)
        >>> ridge_inverse(a, ridge=1.0).diagonal()
        tensor([0.1000, 1.0000], dtype=torch.float64)
    """
    inner = a @ a.T
    inner.diagonal().add_(ridge)
    inverse: Tensor = a.T @ torch.linalg.solve(inner, a) / -ridge
    inverse.diagonal().add_(1 / ridge)
    return inverse
