"""What single patches say in the joint space: values in place of the last attention (MaskCLIP), or cells of a map
pooled alone.

v = W_o (W_v LN1(x) + b_v) + b_o,  y = x + v,  z = y + MLP(LN2(y))       the last block with every patch attending to
                                                                         itself only
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from diptych.backbones.towers.kernels import identity_attention
from diptych.core.backbone import Backbone, Dense, State, Tap, Tower
from diptych.core.errors import MissingHook

BLOCK = 2**20
"""Numbers of the masks that pool single cells, 4 MiB."""
Block = Literal["value", "value-only", "tokens"]
"""What the last block does: values in place of attention, values without residual and MLP (Trident's), or nothing
special.
"""


def patch_embeddings(tower: Tower, x: Tensor, block: Block = "value", tap: Tap | None = None) -> Tensor:
    """Return (B, D, h, w) embeddings, not normalised, of the patches of (B, 3, H, W) normalised pixels.

    Each patch goes through the tower's own pooling alone: for CLS and mean that is the norm, for an attention pool its
    value.

    Args:
        tower: a ViT.
        x: pixels.
        block: what the last block does.
        tap: sees the blocks before the last; see ``Tower.blocks``.
    """
    last = tower.depth - 1
    s = tower.blocks(tower.start(x), stop=last, tap=tap)
    if block == "value-only":
        h = tower.attend(s, last, identity_attention)
    else:
        h = tower.blocks(s, last, kernel=identity_attention if block == "value" else None).h
    assert s.grid is not None
    patches = h[:, s.prefix : s.prefix + s.grid[0] * s.grid[1]]
    alone = patches.reshape(-1, 1, patches.shape[2])
    pool = None if s.pool is None else alone.new_ones(len(alone), 1)
    z = tower.project(tower.pooled(State(alone, pool=pool, grid=(1, 1))))
    return z.reshape(len(x), *s.grid, -1).permute(0, 3, 1, 2)


def cell_embeddings(dense: Dense, m: Tensor) -> Tensor:
    """Return (B, D, h, w) embeddings of the cells of a last map, each pooled alone: for CLIP's ResNets, the value of
    the cell.

    The masks of ``BLOCK`` numbers are made at a time, since those of all cells grow with the square of their number.
    """
    h, w = m.shape[2:]
    cells = torch.arange(h * w, device=m.device)
    found = []
    for some in torch.split(cells, max(1, BLOCK // len(cells))):
        alone = torch.zeros(len(some), len(cells), device=m.device).scatter_(1, some[:, None], 1.0)
        alone = alone.reshape(1, -1, h, w).expand(len(m), -1, -1, -1)
        found.append(dense.project(dense.pool(m, alone)))
    return torch.cat(found, dim=1).reshape(len(m), h, w, -1).permute(0, 3, 1, 2)


def check_patches(backbone: Backbone, block: Block = "value") -> None:
    """Ask for what ``embed_patches`` needs, before anything is computed.

    Raises:
        MissingHook: the backbone has neither an image tower nor dense maps, or no tower for a block other than "value".
    """
    try:
        backbone.tower("image")
    except MissingHook:
        if block != "value":
            raise
        backbone.dense()


def embed_patches(backbone: Backbone, x: Tensor, block: Block = "value") -> Tensor:
    """Return (B, D, h, w) embeddings of the patches of an image tower, or, where there is none, of the cells of the
    last map.

    Raises:
        MissingHook: the backbone has neither, or no tower for a block other than "value".
    """
    try:
        tower = backbone.tower("image")
    except MissingHook:
        if block != "value":
            raise
        dense = backbone.dense()
        return cell_embeddings(dense, dense.maps(x)[-1])
    return patch_embeddings(tower, x, block)


def tapped_patches(backbone: Backbone, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return (B, D, h, w) patch embeddings, and what an earlier layer says of the same pixels, (B, C, h', w').

    The earlier layer of a tower is the normed input of the MLP of the third block from the end (or of the first, where
    there are fewer), on the same grid; of dense maps it is the one before the last, on its own, finer grid (the only
    one, where there is one).

    Raises:
        MissingHook: the backbone has neither an image tower nor dense maps.
    """
    try:
        tower = backbone.tower("image")
    except MissingHook:
        dense = backbone.dense()
        maps = dense.maps(x)
        return cell_embeddings(dense, maps[-1]), maps[max(0, len(maps) - 2)]
    at, seen = max(0, tower.depth - 3), list[Tensor]()

    def tap(i: int, where: str, h: Tensor) -> None:
        if (i, where) == (at, "mlp_in"):
            seen.append(h)

    if tower.depth < 2:
        raise MissingHook(
            f"The image tower of {backbone.spec.name} has one block, and none before the last: use a deeper one."
        )
    f = patch_embeddings(tower, x, tap=tap)
    h, w = f.shape[2:]
    g = seen[0][:, -h * w :]
    return f, g.transpose(1, 2).reshape(len(x), -1, h, w)
