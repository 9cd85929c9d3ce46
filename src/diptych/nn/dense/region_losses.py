"""Losses of regions: their vectors against those of phrases, and their boxes against given ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import normalize
from torchvision.ops import box_convert, generalized_box_iou, generalized_box_iou_loss

from diptych.nn.contrastive import cosines, softmax_pairs, wide

Together = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Gathers rows whose number differs between the processes, with a mask of the real ones."""
COST_L1, COST_GIOU, SCALE = 5.0, 2.0, 1.5
"""Weights of the matching, and of the loss of boxes (the authors of GRAIN)."""


def region_contrast(
    z: Tensor, y: Tensor, scale: Tensor, same: float, together: Together, rank: int = 0, size: int = 1
) -> Tensor:
    """Return L_cloc of this process's regions; its mean over the processes is that of all regions.

    Args:
        z: (n, D) embeddings of regions, not normalised; n may be 0.
        y: (n, D) embeddings of their phrases, not normalised.
        scale: s.
        same: cosine of two phrases above which they are no negatives of each other.
        together: see ``Together``, such as ``train.distributed.gather_ragged``.
        rank: number of this process.
        size: number of processes.

    Source: Chen et al. 2024, section 3.3 and appendix (the filter of alike texts).

    Example:
        Two regions of the same phrase are no negatives of each other, so there is nothing to learn:

        >>> alike, alone = torch.ones(2, 3), lambda x: (x, torch.ones(len(x), dtype=torch.bool))
        >>> region_contrast(alike, alike, torch.tensor(10.0), 0.9, alone).item()
        0.0
    """
    x, t = normalize(wide(z), dim=-1), normalize(wide(y), dim=-1)
    everyone, real = together(x)
    texts, _ = together(t)
    if not bool(real.any()):
        return z.sum() * 0.0
    with torch.no_grad():
        seen = real[None] & ~(cosines(t, texts) > same)
    rows, first = torch.ones(len(x), dtype=torch.bool, device=x.device), rank * (len(everyone) // size)
    there = softmax_pairs(x, texts, scale, first, seen=seen, rows=rows)
    back = softmax_pairs(t, everyone, scale, first, seen=seen, rows=rows)
    return (there + back) / 2 * len(x) * size / real.sum()


@torch.no_grad()
def matched(shown: Tensor, boxes: Tensor) -> Tensor:
    """Return the (n,) slot of each box, of the assignment of least cost.

    Args:
        shown: (Q, 4) boxes of the slots, x0 y0 x1 y1 in [0, 1].
        boxes: (n, 4) boxes of descriptions, n <= Q.

    Source: the authors' ``box_utils.py``, without a class term; Carion et al. 2020 (DETR).

    Example:
        >>> left, right = [0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]
        >>> matched(torch.tensor([right, left, left]), torch.tensor([left, right]))
        tensor([1, 0])
    """
    one, other = (box_convert(b, "xyxy", "cxcywh") for b in (shown, boxes))
    cost = COST_L1 * torch.cdist(one, other, p=1) - COST_GIOU * generalized_box_iou(shown, boxes)
    slots, columns = linear_sum_assignment(cost.double().cpu().numpy())
    order = torch.as_tensor(columns).argsort()
    return torch.as_tensor(slots)[order].to(shown.device)


def box_loss(shown: Tensor, boxes: Tensor) -> Tensor:
    """Return L_box of n matched pairs of boxes, x0 y0 x1 y1 in [0, 1]; 0 where n = 0."""
    away = (box_convert(shown, "xyxy", "cxcywh") - box_convert(boxes, "xyxy", "cxcywh")).abs().sum()
    out: Tensor = SCALE * (away + generalized_box_iou_loss(shown, boxes, reduction="sum")) / max(1, len(boxes))
    return out
