"""Losses of soft masks against true ones: focal, which weighs hard pixels, and Dice, which measures the overlap."""

from __future__ import annotations

import torch
from torch import Tensor


def focal_loss(s: Tensor, mask: Tensor, gamma: float = 2.0) -> Tensor:
    """Return the mean over pixels of -(1 - p_t)^gamma log p_t, where p_t is the probability of the true class.

    Targets are clamped to [1e-5, 1 - 1e-5] and 1e-5 is added to p_t, which keeps the logarithm finite.

    Args:
        s: (B, 2, H, W) probabilities: background, foreground.
        mask: (B, H, W) in {0, 1}: foreground.
        gamma: weight of hard pixels, >= 0; 0 is cross-entropy.

    Source: Lin et al. 2017, equation 4, without alpha.
    """
    target = torch.stack([1 - mask, mask], dim=1).clamp(1e-5, 1 - 1e-5)
    p = (target * s).sum(1) + 1e-5
    return (-((1 - p).clamp_min(0) ** gamma) * p.log()).mean()


def dice_loss(s: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over images of 1 - (2 sum(s mask) + 1) / (sum(s) + sum(mask) + 1).

    Args:
        s: (B, H, W) in [0, 1].
        mask: (B, H, W) in {0, 1}.

    Source: Milletari et al. 2016, section 3, with smoothing 1.

    Example:
        >>> import torch
        >>> mask = torch.tensor([[[0.0, 1.0]]])
        >>> dice_loss(mask, mask), dice_loss(1 - mask, mask).round(decimals=2)  # perfect, and no overlap
        (tensor(0.), tensor(0.6700))
    """
    overlap = (s * mask).flatten(1).sum(1)
    return (1 - (2 * overlap + 1) / (s.flatten(1).sum(1) + mask.flatten(1).sum(1) + 1)).mean()
