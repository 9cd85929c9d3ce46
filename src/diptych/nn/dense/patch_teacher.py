"""What a second image encoder knows of patches: which belong together, and which are background. Only a training asks
it.

A*_ij  = 1[ cos(v_i, v_j) >= gamma ]                 v: values of a ViT's last attention, all heads; or cells of a conv
                                                     map, centred
object = not 1[ cos(v_i, v_seed) > tau ]             seed: the patch that CLS attends to least; without CLS, the one of
                                                     the shortest vector
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.backbones.towers.kernels import probabilities
from diptych.core.backbone import Space
from diptych.core.errors import MissingHook


def teacher_patches(space: Space, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return (B, C, h, w) vectors of the patches, and (B, h, w): how much each of them is looked at.

    Args:
        space: with an image tower, or dense maps, whose last one is taken.
        x: (B, 3, H, W) pixels, normalised as the space asks for.

    Raises:
        MissingHook: the space has neither.
    """
    try:
        tower = space.tower("image")
    except MissingHook:
        m = space.dense().maps(x)[-1]
        return m, m.norm(dim=1)
    held: dict[str, Tensor] = {}

    def record(i: int, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        held["values"], held["attention"] = v, probabilities(q, k, bias)
        return v

    last = tower.depth - 1
    s = tower.blocks(tower.start(x), stop=last)
    tower.attend(s, last, record)
    assert s.grid is not None
    span = slice(s.prefix, s.prefix + s.grid[0] * s.grid[1])
    values = held["values"].transpose(1, 2).flatten(2)[:, span]
    looked = held["attention"][:, :, 0, span].mean(1) if s.prefix else values.norm(dim=-1)
    return values.transpose(1, 2).reshape(len(x), -1, *s.grid), looked.reshape(len(x), *s.grid)


def centred(space: Space, maps: Sequence[Tensor]) -> list[Tensor]:
    """Return the (1, C, h, w) maps of ``teacher_patches`` less their mean cell, where the space has no image tower;
    else as they are.

    After a ReLU the cells of all pictures point the same way, so that no threshold parts them; values of a tower do
    not.
    """
    try:
        space.tower("image")
    except MissingHook:
        mean = torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0)
        return [m - mean[:, None, None] for m in maps]
    return list(maps)


def together(v: Tensor, gamma: float) -> Tensor:
    """Return (B, n, n) bool: which of the n = h w patches belong together.

    Args:
        v: (B, C, h, w) vectors.
        gamma: cosine in [-1, 1] from which on they do.
    """
    unit = F.normalize(v.flatten(2), dim=1)
    return unit.mT @ unit >= gamma


def objects(v: Tensor, looked: Tensor, tau: float) -> Tensor:
    """Return (B, h, w) bool: the patches that are not like the least looked at one.

    Args:
        v: (B, C, h, w) vectors.
        looked: (B, h, w), as ``teacher_patches`` returns it, of the same grid.
        tau: cosine above which a patch is background.

    Source: the coarse rule of FOUND (Simeoni et al. 2023), without its weights of the heads.
    """
    unit = F.normalize(v.flatten(2), dim=1)
    seed = looked.flatten(1).argmin(1)
    chosen = unit[torch.arange(len(v), device=v.device), :, seed]
    return (torch.einsum("bcn,bc->bn", unit, chosen) <= tau).reshape(looked.shape)
