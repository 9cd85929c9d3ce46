"""Features of an image encoder before its projection to the joint space, and of an early layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, interpolate, normalize

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


def early(backbone: Backbone, pictures: Tensor) -> Tensor:
    """Return the first block of the image tower, or the finest map of a convolutional encoder, of (B, 3, H, W) pictures
    in [0, 1]. Gradients pass.

    Returns:
        (B, n, C) of n tokens or cells.

    Raises:
        MissingHook: it has neither a tower nor maps.
    """
    side = backbone.image.size or 224
    square = interpolate(pictures, size=(side, side), mode="bilinear", antialias=True)
    inputs = backbone.image.inputs(list(square))
    x = inputs if isinstance(inputs, Tensor) else inputs["pixels"]
    try:
        tower = backbone.tower("image")
    except MissingHook:
        return backbone.dense().maps(x)[0].flatten(2).transpose(1, 2)
    return tower.blocks(tower.start(x), 0, 1).h


def unlike(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far (B, n, C) layers of two batches of pictures differ, here and there and as a whole, (B,) each.

    The first is the mean over n of the squared distance of unit vectors, in [0, 4], as LPIPS measures without its
    learnt weights. The second is 1 - the cosine of the means over n, in [0, 2].

    Source: Zhang et al. 2018 (LPIPS), equation 1.
    """
    local = (normalize(first, dim=-1) - normalize(second, dim=-1)).square().sum(-1).mean(1)
    return local, 1 - cosine_similarity(first.mean(1), second.mean(1), dim=-1)
