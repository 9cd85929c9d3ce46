"""A teacher that tells, from a second image encoder, which patches belong together and which are background.

    together_ij = 1[ cos(v_i, v_j) >= gamma ]
    object_i    = not 1[ cos(v_i, v_seed) > tau ]

v_i: (C,) vector of patch i, of n: the values of a ViT's last attention, all heads; or a cell of a convolutional map,
    centred
seed: the patch that CLS attends to least; without CLS, the one with the shortest vector
gamma, tau: cosines in [-1, 1]

It is used in training only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.backbones.towers.kernels import probabilities
from diptych.core import MissingHook, Space


def teacher_patches(space: Space, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return (B, C, h, w) vectors of the patches, and the (B, h, w) attention that each of them gets.

    Args:
        space: with an image tower, or dense maps, of which the last is taken.
        x: (B, 3, H, W) pixels, normalised as the space requires.

    Raises:
        MissingHook: the space has neither.
    """
    try:
        tower = space.tower("image")
    except MissingHook:
        m = space.dense().maps(x)[-1]
        return m, m.norm(dim=1)
    recorded: dict[str, Tensor] = {}

    def record(i: int, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        recorded["values"], recorded["attention"] = v, probabilities(q, k, bias)
        return v

    last = tower.depth - 1
    s = tower.blocks(tower.start(x), stop=last)
    tower.attend(s, last, record)
    assert s.grid is not None
    span = slice(s.prefix, s.prefix + s.grid[0] * s.grid[1])
    values = recorded["values"].transpose(1, 2).flatten(2)[:, span]
    attention = recorded["attention"][:, :, 0, span].mean(1) if s.prefix else values.norm(dim=-1)
    return values.transpose(1, 2).reshape(len(x), -1, *s.grid), attention.reshape(len(x), *s.grid)


def centred(space: Space, maps: Sequence[Tensor]) -> list[Tensor]:
    """Return the maps of ``teacher_patches`` minus their mean cell; unchanged if the space has an image tower.

    After a ReLU the cells of all pictures point in similar directions, so that no threshold separates them. The values
    of a tower do not.

    Args:
        space: the teacher.
        maps: (1, C, h, w) each.
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
        gamma: least cosine of patches that do, in [-1, 1].
    """
    unit = F.normalize(v.flatten(2), dim=1)
    return unit.mT @ unit >= gamma


def objects(v: Tensor, attention: Tensor, tau: float) -> Tensor:
    """Return (B, h, w) bool: the patches that are not similar to the one with the least attention.

    Args:
        v: (B, C, h, w) vectors.
        attention: (B, h, w), as ``teacher_patches`` returns it, of the same grid.
        tau: cosine above which a patch is background.

    Source: the coarse rule of FOUND (Simeoni et al. 2023), without its weights of the heads.
    """
    unit = F.normalize(v.flatten(2), dim=1)
    seed = attention.flatten(1).argmin(1)
    chosen = unit[torch.arange(len(v), device=v.device), :, seed]
    return (torch.einsum("bcn,bc->bn", unit, chosen) <= tau).reshape(attention.shape)
