"""Mask proposals of a promptable model: what it finds from a grid of points."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diptych.core import PromptableMasks, Prompted, Prompts, Proposals
from diptych.core.ranges import at_least, check


@dataclass(frozen=True)
class PointGrid:
    """Everything that a promptable model finds from a grid of points, one thing once.

    Of each point the three readings are kept whose estimated IoU and stability are high enough; of masks that overlap
    more than ``overlap`` the one with the higher estimate stays.

    Args:
        points: points along each side, >= 1 (SAM's default is 32).
        iou: least estimated IoU.
        stability: least IoU of the mask at logits +1 and -1.
        overlap: largest IoU of two boxes that both stay.

    Source: Kirillov et al. 2023, appendix B (automatic masks), on the whole picture without crops.
    """

    masks: PromptableMasks
    points: int = 16
    iou: float = 0.88
    stability: float = 0.95
    overlap: float = 0.7

    def __post_init__(self) -> None:
        check(self, at_least(1), "points")

    @property
    def fingerprint(self) -> str:
        """Hash of the model and the settings."""
        facts = (self.masks.fingerprint, self.points, self.iou, self.stability, self.overlap)
        return hashlib.sha256(f"point-grid/1/{facts}".encode()).hexdigest()[:16]

    def propose(self, image: Any, words: Sequence[str] = (), /) -> Proposals:
        """Return the masks that stay, surest first; maybe none."""
        from torchvision.ops import masks_to_boxes, nms

        seen = self.masks.see(image)
        height, width = seen.size
        at = (torch.arange(self.points) + 0.5) / self.points
        points = torch.stack(torch.meshgrid(at * width, at * height, indexing="xy"), dim=-1).reshape(-1, 1, 2)
        answers = [self._stable(self.masks.ask(seen, Prompts(points=p), several=True)) for p in torch.split(points, 16)]
        masks, iou = torch.cat([m for m, _ in answers]), torch.cat([i for _, i in answers])
        if len(masks):
            separate = nms(masks_to_boxes(masks), iou, self.overlap)
            masks, iou = masks[separate], iou[separate]
        return Proposals(masks.float(), iou.clamp(0, 1), seen.size)

    def _stable(self, prompted: Prompted) -> tuple[Tensor, Tensor]:
        logits, iou = prompted.logits.flatten(0, 1), prompted.iou.flatten()
        inner, outer = (logits > 1).flatten(1).sum(1), (logits > -1).flatten(1).sum(1)
        sure = (iou >= self.iou) & (inner >= self.stability * outer) & ((logits > 0).flatten(1).any(1))
        return logits[sure] > 0, iou[sure]
