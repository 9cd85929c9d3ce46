"""Losses that compare projected views of the same images, BYOL's and SimCLR's, and the networks that project."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.functional import normalize

from diptych.core import Embedded
from diptych.nn.contrastive import supervised_contrastive, wide
from diptych.nn.projector import projector


def byol(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the mean over rows of 2 - 2 cos(predicted, target), in [0, 4].

    Args:
        predicted: (B, D).
        target: (B, D), without gradient.

    Source: Grill et al. 2020 (BYOL), equation 2.
    """
    return (2 - 2 * F.cosine_similarity(wide(predicted), wide(target), dim=-1)).mean()


def simclr(one: Tensor, two: Tensor, temperature: float, e: Embedded) -> Tensor:
    """Return NT-Xent: each of 2 N projected views must pick the other one of its image among 2 N - 1.

    Args:
        one: (B, D) of the first views of this process's images.
        two: (B, D) of the second views.
        temperature: tau, > 0.
        e: gathers the rows of all processes.

    Source: Chen et al. 2020 (SimCLR), equation 1.
    """
    z = normalize(wide(torch.cat([one, two])), dim=-1)
    images = (e.rank * len(one) + torch.arange(len(one), device=z.device)).repeat(2)
    # With two views of each image the supervised contrastive loss has one positive per row, and is NT-Xent.
    return supervised_contrastive(z, images, temperature, e.gather(z), e.gather(images), e.rank * len(z))


class ViewHeads(nn.Module):
    """The projectors and the predictor of both losses.

    Args:
        width: C of the pooled vectors.
        out: width of what they return.
        gather: rows of all processes, for batch norm.

    Attributes:
        simclr: g, three layers.
        projector: f, two layers; a teacher has a copy of it.
        predictor: q, two layers.
    """

    def __init__(self, width: int, hidden: int, out: int, gather: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.simclr = projector(width, hidden, out, 3, gather)
        self.projector = projector(width, hidden, out, 2, gather)
        self.predictor = projector(out, hidden, out, 2, gather)

    def contrasted(self, h: Tensor, temperature: float, e: Embedded) -> Tensor:
        """Return SimCLR's loss of (2 B, C) pooled vectors, the first views before the second ones."""
        one, two = self.simclr(h).chunk(2)
        return simclr(one, two, temperature, e)

    def predicted(self, h: Tensor, target: Tensor) -> Tensor:
        """Return BYOL's loss of (2 B, C) pooled vectors and (B, D) targets of their images."""
        return byol(self.predictor(self.projector(h)), target.repeat(2, 1))


def nt_xent(x: Tensor, y: Tensor, temperature: float) -> Tensor:
    """Return the mean loss of 2B unit vectors that must each pick their partner among the 2B - 1 others, in nats.

    Source: Chen et al. 2020 (SimCLR), equation 1; it is SupCon's loss with two vectors an entity.
    """
    z = normalize(torch.cat([x, y]), dim=-1)
    partners = torch.arange(len(x), device=z.device).repeat(2)
    return supervised_contrastive(z, partners, temperature, z, partners)


def weighed(cross: Tensor, intra: Tensor, w: Tensor) -> Tensor:
    """Return cross + intra / w^2 + log(w + 1).

    Example:
        >>> round(weighed(torch.tensor(1.0), torch.tensor(2.0), torch.tensor(1.0)).item(), 4)  # 3 + log 2
        3.6931
    """
    return cross + intra / w.square() + (w + 1).log()
