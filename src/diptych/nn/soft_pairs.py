"""Losses of pairs with softened targets: of whole images and captions, and of their tokens."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.functional import normalize

from diptych.core import Embedded
from diptych.nn.assignment import matched
from diptych.nn.contrastive import cosines, wide


def softened(alike: Tensor, first: int, share: float, temperature: float | None) -> Tensor:
    """Return q, the (B, N) targets of B rows; each row sums to 1.

    Args:
        alike: (B, N) cosines, without gradient.
        first: column of the first row's partner.
        share: a, in [0, 1].
        temperature: tau, divides the cosines of the negatives, > 0; None: all negatives have the same share.

    Example:
        >>> softened(torch.zeros(2, 3), first=0, share=0.2, temperature=None).tolist()[0]
        [0.800000011920929, 0.10000000149011612, 0.10000000149011612]
    """
    diagonal = F.one_hot(torch.arange(first, first + len(alike), device=alike.device), alike.shape[1]).bool()
    if alike.shape[1] == 1:
        return diagonal.to(alike)
    logits = torch.zeros_like(alike) if temperature is None else alike / temperature
    others = logits.masked_fill(diagonal, -torch.inf).softmax(1)
    return torch.where(diagonal, 1 - share, share * others)


def instance_loss(e: Embedded, share: float, temperature: float | None) -> Tensor:
    """Return L_inst, in nats; CLIP's loss where the share is 0.

    Args:
        e: vectors of "image" and "text", and their scale.
        share: a.
        temperature: tau; see ``softened``.
    """
    x, y = (normalize(wide(e.vectors[m]), dim=-1) for m in ("image", "text"))
    scale, first = e.scale("image", "text")[0], e.rank * len(x)
    losses = []
    for rows, columns in ((x, e.gather(y)), (y, e.gather(x))):
        alike = cosines(rows, columns)
        losses.append(F.cross_entropy(scale * alike, softened(alike.detach(), first, share, temperature)))
    return (losses[0] + losses[1]) / 2


def token_loss(
    patches: Tensor, words: Tensor, valid: Tensor, scale: Tensor, capacity: int, negatives: int, g: torch.Generator
) -> Tensor:
    """Return L_tok of B pairs, in nats: ln(1 + negatives) where nothing is told apart.

    Pair i is compared with the captions i + d, for d = 0 and for drawn shifts, modulo B; so each caption meets as many
    images as each image captions.

    Args:
        patches: (B, P, D) unit.
        words: (B, L, D) unit.
        valid: (B, L) bool, the words.
        scale: s.
        capacity: k.
        negatives: at most B - 1.
        g: CPU generator of the shifts.
    """
    count = len(words)
    shifts = [0, *(1 + torch.randperm(count - 1, generator=g)[:negatives]).tolist()] if count > 1 else [0]
    rows = torch.arange(count, device=words.device)
    columns = [(rows + d) % count for d in shifts]
    scores = torch.stack([matched(words[j], valid[j], patches, capacity) for j in columns], dim=1)  # (B, 1 + negatives)
    back = torch.stack([scores[(rows - d) % count, k] for k, d in enumerate(shifts)], dim=1)
    right = torch.zeros_like(rows)
    return (F.cross_entropy(scale * scores, right) + F.cross_entropy(scale * back, right)) / 2
