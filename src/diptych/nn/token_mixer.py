"""Mixture of features: the tokens of two image encoders on one grid, for whatever reads tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from diptych.core import DataError, UsageError


def additive(clip: Tensor, other: Tensor, weight: float = 0.5) -> Tensor:
    """Return ``weight * other + (1 - weight) * clip`` (A-MoF), of the size of either.

    Args:
        clip: (..., N, D) tokens.
        other: the same size.
        weight: of the other encoder, in [0, 1].

    Raises:
        DataError: the sizes differ.
        UsageError: the weight is outside its range.

    Source: Tong et al. 2024.
    """
    _same(clip, other)
    if not 0 <= weight <= 1:
        raise UsageError(f"weight must be in [0, 1], got {weight}.")
    return weight * other + (1 - weight) * clip


def interleaved(clip: Tensor, other: Tensor) -> Tensor:
    """Return (..., 2 N, D) tokens, each of the first encoder followed by that of the second at its place (I-MoF).

    Args:
        clip: (..., N, D) tokens, after an adapter.
        other: the same size, after an adapter of its own.

    Raises:
        DataError: the sizes differ.

    Example:
        >>> interleaved(torch.tensor([[1.0], [2.0]]), torch.tensor([[-1.0], [-2.0]])).flatten().tolist()
        [1.0, -1.0, 2.0, -2.0]

    Source: Tong et al. 2024.
    """
    _same(clip, other)
    return torch.stack([clip, other], dim=-2).flatten(-3, -2)


def _same(clip: Tensor, other: Tensor) -> None:
    if clip.shape != other.shape:
        raise DataError(
            f"Both streams must have one size, got {tuple(clip.shape)} and {tuple(other.shape)}: resize one grid, and "
            f"give each an adapter."
        )
