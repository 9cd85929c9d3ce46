"""Logits of images and class prompts whose context is learnt, and may be shifted by the image.

    t_k    = normalise(text([v1] ... [vM] name_k .))
    logits = s z t_k + b
    shifted:  v_m(z) = v_m + h(z),   h = Linear(D, D/16) - ReLU - Linear(D/16, C)

z: (N, D) unit embeddings of images;  v: (M, C) context vectors, in the space of the token embeddings
s, b: scale and bias of the backbone's logits; b = 0 for softmax backbones
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from diptych.core import Backbone
from diptych.features.heads import logits
from diptych.nn.prompts.soft import Slots, encode_prompts


class CoOpPrompt(nn.Module):
    """The trained part: the context, and for CoCoOp the network that shifts it by the image.

    Args:
        context: (M, C) or (K, M, C) start.
        dim: D of the image embeddings. None: no network.
    """

    def __init__(self, context: Tensor, dim: int | None) -> None:
        super().__init__()
        self.context = nn.Parameter(context.clone())
        hidden = max(1, (dim or 16) // 16)
        self.net = (
            None
            if dim is None
            else nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, context.shape[-1]))
        )


def prompt_logits(backbone: Backbone, where: Slots, prompt: Mapping[str, Tensor], z: Tensor) -> Tensor:
    """Return the (B, K) logits of (B, D) unit image embeddings.

    CoCoOp encodes K texts for every image, one image at a time.

    Args:
        backbone: with a text tower.
        where: K class prompts.
        prompt: parameters of a ``CoOpPrompt``.
        z: (B, D).
    """

    def scored(x: Tensor, context: Tensor) -> Tensor:
        return logits(backbone, x, normalize(encode_prompts(backbone.tower("text"), where, context), dim=-1))

    if "net.0.weight" not in prompt:
        return scored(z, prompt["context"])
    shifts = linear(
        linear(z, prompt["net.0.weight"], prompt["net.0.bias"]).relu(), prompt["net.2.weight"], prompt["net.2.bias"]
    )
    return torch.cat([scored(x[None], prompt["context"] + shift) for x, shift in zip(z, shifts, strict=True)])
