"""A decoder of region slots in the place of an image tower's pooling."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from diptych.backbones.towers.region_slots import RegionSlots
from diptych.core import MissingHook, Spec, UsageError


def decoded(
    module: nn.Module, spec: Spec, *, regions: int, width: int, depth: int, heads: int, hidden: int, dropout: float
) -> Spec:
    """Give the image tower of an open_clip model region slots, with random weights. Modified in place.

    Args:
        module: open_clip's CLIP, or CustomTextCLIP with a VisionTransformer that pools by CLS or mean.
        spec: what it is.
        regions: Q, >= 1.
        width: d of the decoder, which ``heads`` divides.
        depth: layers, >= 1.
        heads: of each attention.
        hidden: width of the MLPs.
        dropout: in [0, 1).

    Returns:
        The spec: the image vectors are those of the image slot.

    Raises:
        MissingHook: the image tower is no such tower, or has an attention pool already.
        UsageError: the heads do not divide the width.
    """
    visual: Any = getattr(module, "visual", None)
    if type(visual).__name__ != "VisionTransformer" or visual.attn_pool is not None or visual.proj is None:
        raise MissingHook(
            f"The image tower of {spec.name} takes no region slots: use an open_clip ViT that pools by CLS or mean."
        )
    if width % heads:
        raise UsageError(f"width must be a multiple of the {heads} heads, got {width}: change one of them.")
    with torch.random.fork_rng(devices=[]):  # loading a model must not move the global generator
        visual.attn_pool = RegionSlots(
            visual.ln_post,
            tokens=visual.conv1.out_channels,
            width=width,
            dim=spec.dim,
            regions=regions,
            depth=depth,
            heads=heads,
            hidden=hidden,
            dropout=dropout,
        ).train(visual.training)
        visual.ln_post = nn.LayerNorm(width)
        visual.proj = nn.Parameter(width**-0.5 * torch.randn(width, spec.dim))
    visual.attn_pool_contrastive, visual.pool_type, visual.final_ln_after_pool = None, "tok", False
    return spec
