"""What an image encoder sees before its projection to the joint space: wider, and often better for telling pictures
apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diptych.core.backbone import Backbone, Inputs
from diptych.core.errors import MissingHook


class SameInputs:
    """What image encoders share that see a backbone's own inputs and make other vectors of them.

    Attributes:
        backbone: whose inputs they take.
    """

    backbone: Backbone
    modality = "image"

    @property
    def size(self) -> int | None:
        """Side of the input in pixels."""
        return self.backbone.image.size

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Inputs:
        """Return the backbone's own inputs."""
        return self.backbone.image.inputs(items, size)


@dataclass(frozen=True)
class Unprojected(SameInputs):
    """The image encoder of a backbone without its projection.

    Args:
        backbone: with an image tower, or dense maps that its encoder pools.
        dim: C.
        by_tower: pooled tokens of the tower; else the pooled last map.
    """

    backbone: Backbone
    dim: int
    by_tower: bool

    @classmethod
    def of(cls, backbone: Backbone) -> Unprojected:
        """Return the encoder.

        Raises:
            MissingHook: the backbone has neither an image tower nor dense maps.
        """
        try:
            return cls(backbone, backbone.tower("image").width, True)
        except MissingHook:
            dense = backbone.dense()
            device = next(backbone.module().parameters()).device
            with torch.no_grad():
                side = backbone.image.size or 32
                return cls(
                    backbone, dense.pool(dense.maps(torch.zeros(1, 3, side, side, device=device))[-1]).shape[-1], False
                )

    @property
    def fingerprint(self) -> str:
        """Of the backbone's image encoder, and where it was cut."""
        return f"{self.backbone.image.fingerprint}-unprojected-{'tower' if self.by_tower else 'dense'}"

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, C) float32 features, pooled and normed as the encoder does, not projected."""
        assert isinstance(x, Tensor)
        x = x.to(next(self.backbone.module().parameters()).device)
        if self.by_tower:
            tower = self.backbone.tower("image")
            return tower.pooled(tower.blocks(tower.start(x))).float()
        dense = self.backbone.dense()
        return dense.pool(dense.maps(x)[-1])[:, 0].float()
