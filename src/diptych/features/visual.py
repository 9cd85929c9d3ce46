"""Features of an image encoder before its projection to the joint space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diptych.core import Backbone, Inputs, MissingHook


class SameInputs:
    """Base of image encoders that have the inputs of a backbone's image encoder and other outputs.

    Attributes:
        backbone: the backbone with these inputs.
    """

    backbone: Backbone
    modality = "image"

    @property
    def size(self) -> int | None:
        """Side of the input in pixels."""
        return self.backbone.image.size

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Inputs:
        """Return the inputs of the backbone's image encoder."""
        return self.backbone.image.inputs(items, size)


@dataclass(frozen=True)
class Unprojected(SameInputs):
    """The image encoder of a backbone without its projection.

    Args:
        backbone: a backbone with an image tower, or with dense maps that its encoder pools.
        dim: C, width of the features.
        by_tower: whether the features are the pooled tokens of the tower; otherwise they are the pooled last map.
    """

    backbone: Backbone
    dim: int
    by_tower: bool

    @classmethod
    def of(cls, backbone: Backbone) -> Unprojected:
        """Cut the image encoder of a backbone before its projection.

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
        """The fingerprint of the backbone's image encoder, with a suffix for the cut."""
        return f"{self.backbone.image.fingerprint}-unprojected-{'tower' if self.by_tower else 'dense'}"

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, C) float32 features, pooled and normed as in the encoder, before its projection."""
        assert isinstance(x, Tensor)
        x = x.to(next(self.backbone.module().parameters()).device)
        if self.by_tower:
            tower = self.backbone.tower("image")
            return tower.pooled(tower.blocks(tower.start(x))).float()
        dense = self.backbone.dense()
        return dense.pool(dense.maps(x)[-1])[:, 0].float()
