"""How likely the colour of each cell is for a class, by the cells of the same photo that the class already has."""

from __future__ import annotations

import torch
from torch import Tensor

SPREAD = 5.0
"""Least standard deviation of a colour of a class, in units of L*, a* and b*."""
LEAST = -6.0
"""Log probability below which a colour says no more against a class."""
SHARE = 0.5
"""Power of the share of the cells that a class has: with 1 large classes take in small ones."""
ROUNDS = 2


def photo_colours(scores: Tensor, colours: Tensor, weight: float) -> Tensor:
    """Return scores with what the photo's colours say of each class, by expectation and maximisation.

        P    = softmax(M + w C) over the classes,   C = 0 at first
        C_ki = log p_k^e N(f_i; m_k, s_k)  -  max over classes,   at least ``LEAST``

    p_k, m_k, s_k: mean of P_k, and mean and deviation of the colours weighed by it;  N: normal density of independent
    features;  e: ``SHARE``;  ``ROUNDS`` rounds

    A class that few cells have is less likely in all of them, by p_k^e.

    Args:
        scores: M, (K, h, w) logits.
        colours: (F, h, w), such as L*, a* and b*.
        weight: w, >= 0.

    Returns:
        (K, h, w): M + w C.

    Source: the colour potentials of Shotton et al. 2009 (TextonBoost), with one normal density per class in place of a
        mixture, and e = 1; cf. Rother et al. 2004 (GrabCut).

    Example: a cell that could be either takes the class of the cells that look like it.
        >>> scores = torch.tensor([[4.0, 0.0, -4.0, -4.0], [-4.0, 0.0, 4.0, 4.0]])[:, :, None]
        >>> colours = torch.tensor([[20.0, 20.0, 90.0, 90.0]])[:, :, None]
        >>> photo_colours(scores, colours, 1.0).argmax(0).flatten().tolist()
        [0, 0, 1, 1]
    """
    f, result = colours.flatten(1).T, scores
    for _ in range(ROUNDS if weight else 0):
        p = result.flatten(1).softmax(0)
        cells = p.sum(1, keepdim=True) + torch.finfo(p.dtype).eps
        mean = p @ f / cells
        variance = (p @ f**2 / cells - mean**2).clamp(min=0) + SPREAD**2
        off = (f - mean[:, None]) ** 2 / variance[:, None]
        likely = SHARE * cells.log() - 0.5 * (off.sum(-1) + variance.log().sum(1, keepdim=True))
        c = (likely - likely.amax(0)).clamp(min=LEAST)
        result = scores + weight * c.reshape(scores.shape)
    return result
