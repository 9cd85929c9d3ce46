"""Soft targets, and Mixup and CutMix of clips."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor
from torch.nn.functional import one_hot


def soft_targets(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """Return the (B, K) targets of (B,) labels: 1 - e + e / K for the label, else e / K, e the smoothing."""
    return one_hot(labels, classes).float() * (1 - smoothing) + smoothing / classes


def mixed(x: Tensor, q: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return clips and targets mixed with those of the reversed batch, by Mixup or CutMix with equal probability.

    Args:
        x: (B, T, 3, S, S) pixels.
        q: (B, K) targets.
        rng: draws the kind, the share and the box, once for the batch.

    Source: Mixup: Zhang et al. 2018, alpha 0.8. CutMix: Yun et al. 2019, alpha 1.0; its box is clipped to the picture
        and its share follows from the clipped box.
    """
    if rng.random() < 0.5:
        share = rng.beta(0.8, 0.8)
        return x * share + x.flip(0) * (1 - share), q * share + q.flip(0) * (1 - share)
    size, centre, share = np.array(x.shape[-2:]), rng.random(2), rng.beta(1.0, 1.0)
    half = size * math.sqrt(1 - share) / 2
    (top, left), (low, right) = (np.clip(centre * size + s * half, 0, size).astype(int) for s in (-1, 1))
    pasted = x.clone()
    pasted[..., top:low, left:right] = x.flip(0)[..., top:low, left:right]
    share = 1 - (low - top) * (right - left) / size.prod()
    return pasted, q * share + q.flip(0) * (1 - share)
