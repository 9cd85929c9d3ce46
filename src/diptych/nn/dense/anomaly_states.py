"""Two states of a patch, normal and anomalous: its streams, its maps and their losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.backbones.towers.kernels import fused_attention, value_attention
from diptych.core import Tower, UsageError
from diptych.core.backbone import BILINEAR
from diptych.nn.contrastive import cosines
from diptych.nn.dense.mask_losses import dice_loss, focal_loss
from diptych.nn.prompts.deep import refreshed
from diptych.nn.prompts.soft import Slots, encode_prompts

Stream = Literal["value", "query-key"]
"""Attention of the local stream: between values (the paper), or as usual."""


def patch_streams(
    tower: Tower, x: Tensor, layers: Sequence[int], first: int, stream: Stream = "value", *, class_norm: bool = True
) -> tuple[Tensor, Tensor]:
    """Return the global (B, D) and the local (B, L, n, D) embeddings of images, not normalised.

    Both streams are one up to block ``first``. From there on the local one adds up attention outputs alone, computed
    from the global stream's tokens.

    Args:
        tower: of the image.
        x: (B, 3, H, W) normalised pixels.
        layers: L numbers of blocks, from 1, after which patches are taken.
        first: block, from 0, at which the local stream begins.
        stream: "value" (the paper), or "query-key": the local stream with ordinary attention.
        class_norm: whether the pooled token goes through the last norm of the tower; False: it is projected as it is.

    Raises:
        UsageError: without the norm, on a tower that pools by attention.
    """
    s = tower.blocks(tower.start(x, positions=BILINEAR), stop=first)
    local, taken = s.h, {first: s.h}
    for i in range(first, tower.depth):
        # No residual of the ordinary stream, and no MLP: only attention outputs add up.
        local = local + tower.attend(s, i, value_attention if stream == "value" else fused_attention)
        s = tower.blocks(s, i, i + 1)
        taken[i + 1] = local
    assert s.grid is not None
    span = slice(s.prefix, s.prefix + s.grid[0] * s.grid[1])
    patches = torch.stack([tower.project(tower.norm(taken[layer][:, span])) for layer in layers], dim=1)
    if class_norm:
        return tower.project(tower.pooled(s)), patches
    if s.pool is None:
        raise UsageError("class_norm=False needs a tower with a class token, and this one pools by attention.")
    return tower.project(torch.einsum("bt,btc->bc", s.pool.to(s.h.dtype), s.h)), patches


def state_head(tower: Tower, where: Slots, prompts: Mapping[str, Tensor]) -> Tensor:
    """Return the (2, D) unit embeddings of the normal and the anomalous prompt.

    Args:
        tower: of the text.
        where: the two prompts.
        prompts: learnt "context", (2, E, C), and "deep" tokens, (blocks, M, C).
    """
    return F.normalize(encode_prompts(tower, where, prompts["context"], edit=refreshed(prompts["deep"], at=1)), dim=-1)


def state_losses(
    head: Tensor, batch: Mapping[str, Tensor], temperature: float, local_weight: float
) -> dict[str, Tensor]:
    """Return the loss of the images and, where masks are known, that of the pixels.

    Args:
        head: (2, D) unit embeddings, normal and anomalous.
        batch: "z" (B, 1 + L, n, D), the image and its patches after L blocks; "y" (B,); perhaps "mask" (B, S, S).
        temperature: 0.07 in the paper, divides cosines.
        local_weight: weight of the loss of the pixels.
    """
    whole, patches = batch["z"][:, 0, 0], batch["z"][:, 1:]
    losses = {"image": F.cross_entropy(cosines(whole, head) / temperature, batch["y"])}
    if "mask" in batch:
        mask, grid = batch["mask"], round(patches.shape[2] ** 0.5)
        local = []
        for layer in patches.unbind(1):
            s = local_maps(layer, head, (grid, grid), temperature)
            s = F.interpolate(s, mask.shape[1:], mode="bilinear", align_corners=False)
            local.append(focal_loss(s, mask) + dice_loss(s[:, 1], mask) + dice_loss(s[:, 0], 1 - mask))
        losses["pixels"] = local_weight * torch.stack(local).sum()
    return losses


def local_maps(patches: Tensor, head: Tensor, grid: tuple[int, int], temperature: float) -> Tensor:
    """Return S, (B, 2, h, w) probabilities of normal and anomalous.

    Args:
        patches: (B, n, D) unit embeddings, n = h w.
        head: (2, D) unit embeddings, normal and anomalous.
        grid: (h, w).
        temperature: divides cosines.
    """
    return torch.unflatten((cosines(patches, head) / temperature).softmax(-1).transpose(1, 2), 2, grid)
