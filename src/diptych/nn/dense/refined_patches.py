"""Patches that are averaged by learnt affinities, and a learnt background (CLIP-DINOiser).

    A  = cos(E * g)                        of each two cells
    F' = mean of f weighted by A, where A >= gamma

g: (B, C, h, w) an earlier layer of the tower;  E: a 3 x 3 convolution;  f: (B, D, h, w) patches
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F


def affinity(g: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return A, (B, n, n) cosines of the n = h w cells.

    Args:
        g: (B, C, h, w), the earlier layer; its border is repeated for the convolution.
        weight: (E, C, 3, 3) of the convolution, E outputs.
        bias: (E,).
    """
    e = F.normalize(F.conv2d(F.pad(g, (1, 1, 1, 1), mode="replicate"), weight, bias).flatten(2), dim=1)
    return e.mT @ e


def objectness(g: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return (B, h, w) logits that a cell belongs to an object.

    Args:
        g: (B, C, h, w), the earlier layer, of which each cell is normalised.
        weight: (1, C, 1, 1) of the convolution.
        bias: (1,).
    """
    return F.conv2d(F.normalize(g, dim=1), weight, bias)[:, 0]


def pooled(f: Tensor, a: Tensor, gamma: float) -> Tensor:
    """Return F', (B, D, h, w): each patch becomes the mean of all, weighted by their affinities.

    Args:
        f: (B, D, h, w) patches.
        a: (B, n, n) affinities, n = h w; a row is of the patch that receives.
        gamma: affinities below it count as 0. A patch without any other becomes 0.
    """
    thresholded = a * (a >= gamma)
    mixed = thresholded @ f.flatten(2).mT / (thresholded.sum(-1, keepdim=True) + 1e-6)
    return mixed.mT.reshape(f.shape)


def lesson_losses(heads: nn.ModuleDict, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the two cross-entropies, means over pairs of patches and over patches.

    The cosine itself is the logit of a pair, as in the authors' code.

    Args:
        heads: "affinity", an (E, C, 3, 3) convolution, and "background", a (1, C, 1, 1) one.
        batch: "g" (B, C, h, w), and the teacher's "together" (B, n, n) and "objects" (B, h, w).
    """
    g, p = batch["g"], dict(heads.named_parameters())
    a = affinity(g, p["affinity.weight"], p["affinity.bias"]).clamp_min(0)
    b = objectness(g, p["background.weight"], p["background.bias"])
    return {
        "affinity": F.binary_cross_entropy_with_logits(a, batch["together"].to(a)),
        "background": F.binary_cross_entropy_with_logits(b, batch["objects"].to(b)),
    }
