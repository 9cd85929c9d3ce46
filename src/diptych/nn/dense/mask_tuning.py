"""A copy of a backbone of which the image tower before the projection learns, with queries of masks (MAFT+)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.core import Backbone
from diptych.features.heads import logits
from diptych.features.networks import reached, twin_of
from diptych.nn.dense.content_transfer import ContentTransfer, ReferenceTransfer, mixed_cells
from diptych.nn.dense.mask_classes import inside_cells, pooled_embeddings
from diptych.nn.dense.mask_queries import (
    MaskLayout,
    MaskQueries,
    best_word,
    map_channels,
)
from diptych.nn.dense.mask_training import ClassWords
from diptych.nn.dense.patches import cell_embeddings


class TunedMasks(nn.Module):
    """A copy of the backbone whose image tower is tuned, with the queries and the attention of class embeddings.

    Args:
        backbone: it is copied, not changed.
        layout: sizes of the queries.
        width: of the attention.
        reference: whether the attention is that of the released code, with its weights, which is as wide as the
            embeddings.

    Raises:
        MissingHook: the backbone has no dense maps, or cannot be rebuilt.
    """

    def __init__(
        self, backbone: Backbone, layout: MaskLayout, width: int, heads: int, *, reference: bool = False
    ) -> None:
        super().__init__()
        self.frozen, self.space = backbone, twin_of(backbone)
        self.copy = self.space.module().requires_grad_(False)
        dim = backbone.text.dim
        scale = float(backbone.scale()[0].detach())
        self.queries = MaskQueries(map_channels(backbone), dim, layout, scale)
        self.reference = reference
        self.transfer = ReferenceTransfer(dim, heads) if reference else ContentTransfer(dim, width, heads)

    def heads(self) -> tuple[str, ...]:
        """Return the names of all that is new."""
        return tuple(n for n, _ in self.named_parameters() if not n.startswith("copy."))

    def tower(self) -> tuple[str, ...]:
        """Return the names of the image tower's parameters before its projection."""
        dense = self.space.dense()
        blank = torch.zeros(1, 3, dense.strides[-1], dense.strides[-1], device=next(self.queries.parameters()).device)
        copies = [n for n, _ in self.named_parameters() if n.startswith("copy.")]
        return reached(self, lambda: dense.maps(blank)[-1], among=copies)

    def probabilities(self, last: Tensor, masks: Tensor, words: ClassWords) -> tuple[Tensor, Tensor]:
        """Return (B, Q, K) probabilities without void, and (B, Q) bool: masks with a cell on the last map.

        Args:
            last: (B, C, h, w), X.
            masks: (B, Q, H, W) logits.
            words: of K classes.
        """
        dense = self.space.dense()
        inside = inside_cells(masks, (last.shape[2], last.shape[3]))
        q = pooled_embeddings(dense, last, inside)
        cells = cell_embeddings(dense, mixed_cells(last) if self.reference else last)
        seen = self.transfer(words.vectors, cells.float())
        raw = torch.stack([logits(self.frozen, *pair) for pair in zip(q, seen, strict=True)])
        return best_word(raw, words.owner.to(raw.device)).softmax(-1), inside.flatten(2).any(-1)


GRIDS = (1, 2, 4)


def scaled_iou(masks: Tensor, segment: Tensor) -> Tensor:
    """Return (Q,) IoUs of soft masks with a segment, from 0 for the worst to 1 for the best.

    Where all are equal, all are 0.

    Args:
        masks: (Q, H, W) in [0, 1].
        segment: (H, W) in {0, 1}.

    Example:
        >>> whole, half = torch.ones(1, 4), torch.tensor([[1.0, 1.0, 0.0, 0.0]])
        >>> scaled_iou(torch.stack([whole, half, 1 - half]), half)  # IoUs 1/2, 1 and 0
        tensor([0.5000, 1.0000, 0.0000])
    """
    overlap = (masks * segment).sum((1, 2))
    iou = overlap / (masks.sum((1, 2)) + segment.sum() - overlap).clamp_min(1e-6)
    return (iou - iou.min()) / (iou.max() - iou.min()).clamp_min(1e-6)


def mask_aware_loss(p: Tensor, fits: Tensor) -> Tensor:
    """Return the SmoothL1 distance of probabilities and IoUs, the mean over segments and masks.

    Args:
        p: (n, Q) probability of each segment's class for each mask.
        fits: (n, Q) their IoUs, scaled as by ``scaled_iou``.
    """
    return F.smooth_l1_loss(p, fits)


def compensation(m: Tensor) -> Tensor:
    """Return (B, r) sums over rows and columns of a map's positive part, made square and pooled to three grids.

    A grid finer than the map is the map.

    Args:
        m: (B, C, h, w).
    """
    side = max(m.shape[2:])
    square = F.interpolate(m.relu(), (side, side), mode="bilinear", align_corners=False)
    pooled = (F.avg_pool2d(square, max(1, side // grid)) for grid in GRIDS)
    return torch.cat([part.flatten(1) for one in pooled for part in (one.sum(2), one.sum(3))], dim=1)
