"""A fourth panel of ``lite``, for sentences; ``recipes.lite_captions`` learns its maps from photos with captions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.backbones.lite_parts import LiteModule
from diptych.core import MissingHook, Spec


class CaptionPanel(nn.Module):
    """Adds a panel to a head of ``lite``, with a linear map of the pooled vector.

        y = unit([ h(x),  sqrt(r) unit((unit(x) - m) A) ])

    h: the head before, to unit vectors;  m: (C,) mean;  A: (C, k) map;  r: weight

    The product of an image and a text is then (cos h + r cos A) / (1 + r), a weighted mean of two cosines.

    Args:
        head: h, from (..., C) to (..., D).
        inputs: C.
        width: k.
        weight: r, >= 0.

    Example:
        With the weight 0 the products of vectors stay as they are:

        >>> panel = CaptionPanel(nn.Identity(), inputs=4, width=2, weight=0.0)
        >>> panel(torch.eye(4)[:1])
        tensor([[1., 0., 0., 0., 0., 0.]])
    """

    def __init__(self, head: nn.Module, inputs: int, width: int, weight: float) -> None:
        super().__init__()
        self.head, self.weight = head, weight
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(inputs))
        self.matrix: Tensor
        self.register_buffer("matrix", torch.zeros(inputs, width))

    def forward(self, pooled: Tensor) -> Tensor:
        """Return (..., D + k) unit vectors of (..., C) pooled vectors."""
        panel = normalize((normalize(pooled, dim=-1) - self.mean) @ self.matrix, dim=-1)
        return normalize(torch.cat([self.head(pooled), self.weight**0.5 * panel], dim=-1), dim=-1)


def added(module: nn.Module, spec: Spec, *, width: int, weight: float) -> Spec:
    """Give both heads of ``lite`` a caption panel of zeros. Modified in place.

    The scale grows by 1 + weight, so that the part of the logits that was there before stays as it was.

    Args:
        module: a ``LiteModule`` without such a panel.
        spec: what it is.
        width: numbers that an embedding gains, >= 1.
        weight: of the panel beside the vector before, whose weight is 1; >= 0.

    Returns:
        The spec with the wider embedding.

    Raises:
        MissingHook: the backbone is no ``lite``, or has a caption panel already.
    """
    if not isinstance(module, LiteModule) or isinstance(module.image_head, CaptionPanel):
        raise MissingHook(f"{spec.name} takes no caption panel: use lite, or one of its versions without such a panel.")
    parts: Any = module
    image, text = parts.image_head, parts.text_head
    parts.image_head = CaptionPanel(image, image.classifier.in_features, width, weight)
    parts.text_head = CaptionPanel(text, len(text.middle), width, weight)
    with torch.no_grad():
        parts.scale.mul_(1 + weight)
    return replace(spec, dim=spec.dim + width)
