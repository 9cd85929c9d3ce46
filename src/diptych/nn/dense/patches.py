"""Embeddings of single patches in the joint space: values in place of the last attention, or map cells pooled alone.

    v = W_o (W_v LN1(x) + b_v) + b_o,   y = x + v,   z = y + MLP(LN2(y))

x: (T, C) tokens before the last block of the image tower
W_v, b_v, W_o, b_o: value and output projections of its attention
z: (T, C) tokens after the block, in which each patch attends to itself only (MaskCLIP)
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from diptych.backbones.dense import ConvDense
from diptych.backbones.towers.kernels import identity_attention
from diptych.core import Backbone, Dense, MissingHook, State, Tap, Tower
from diptych.core.backbone import PLAIN

BLOCK = 2**20
"""Numbers of the masks that pool single cells at a time (4 MiB of float32)."""
Block = Literal["value", "value-only", "tokens"]
"""What the last block does.

- "value": values in place of attention.
- "value-only": the same without residual and MLP (Trident's).
- "tokens": the block as it is.
"""


def patch_embeddings(tower: Tower, x: Tensor, block: Block = "value", tap: Tap | None = None) -> Tensor:
    """Return (B, D, h, w) embeddings of the patches, not normalised.

    Each patch goes through the tower's own pooling alone. For pooling by CLS or mean that is the norm, for an attention
    pool it is the patch's value.

    Args:
        tower: a ViT.
        x: (B, 3, H, W) normalised pixels.
        block: what the last block does.
        tap: called in the blocks before the last; see ``Tower.blocks``.
    """
    last = tower.depth - 1
    s = tower.blocks(tower.start(x, positions=PLAIN), stop=last, tap=tap)
    if block == "value-only":
        h = tower.attend(s, last, identity_attention)
    else:
        h = tower.blocks(s, last, kernel=identity_attention if block == "value" else None).h
    assert s.grid is not None
    patches = h[:, s.prefix : s.prefix + s.grid[0] * s.grid[1]]
    return token_embeddings(tower, patches, pooled=s.pool is not None).reshape(len(x), *s.grid, -1).permute(0, 3, 1, 2)


def token_embeddings(tower: Tower, tokens: Tensor, *, pooled: bool | None = None) -> Tensor:
    """Return (B, n, D) embeddings of (B, n, C) tokens after the last block, each pooled alone, not normalised.

    Args:
        tower: of the image.
        tokens: of its width.
        pooled: whether the tower pools by weights of tokens (True) or by attention; None: as the tower starts.
    """
    if pooled is None:
        height, width = getattr(tower, "patch", (1, 1))
        pooled = tower.start(tokens.new_zeros(1, 3, height, width)).pool is not None
    alone = tokens.reshape(-1, 1, tokens.shape[2])
    pool = alone.new_ones(len(alone), 1) if pooled else None
    return tower.project(tower.pooled(State(alone, pool=pool, grid=(1, 1)))).reshape(*tokens.shape[:2], -1)


def cell_embeddings(dense: Dense, m: Tensor) -> Tensor:
    """Return (B, D, h, w) embeddings of the cells of a last map, each pooled alone.

    For CLIP's ResNets this is the value of the cell. The masks of all cells grow with the square of their number, so
    only ``BLOCK`` numbers of them exist at a time.

    Args:
        dense: of the backbone.
        m: (B, C, h, w), its last map.
    """
    h, w = m.shape[2:]
    if isinstance(dense, ConvDense):  # it pools by the mean, and that of one cell is the cell
        return dense.project(m.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    cells = torch.arange(h * w, device=m.device)
    parts = []
    for some in torch.split(cells, max(1, BLOCK // len(cells))):
        alone = torch.zeros(len(some), len(cells), device=m.device).scatter_(1, some[:, None], 1.0)
        alone = alone.reshape(1, -1, h, w).expand(len(m), -1, -1, -1)
        parts.append(dense.project(dense.pool(m, alone)))
    return torch.cat(parts, dim=1).reshape(len(m), h, w, -1).permute(0, 3, 1, 2)


def check_patches(backbone: Backbone, block: Block = "value") -> None:
    """Check that a backbone has what ``embed_patches`` needs, before anything is computed.

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
    """Return (B, D, h, w) embeddings of the patches of an image tower or, without one, of the cells of the last map.

    Args:
        backbone: embeds.
        x: (B, 3, H, W) normalised pixels.
        block: what the last block does.

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
    """Return (B, D, h, w) patch embeddings, and the features of an earlier layer, (B, C, h', w').

    - Of a tower, the earlier layer is the normed input of the MLP of the third block from the end, on the same grid. A
    tower
      with fewer than three blocks gives that of its first.
    - Of dense maps, it is the map before the last, on its own, finer grid, or the only map.

    Args:
        backbone: embeds.
        x: (B, 3, H, W) normalised pixels.

    Raises:
        MissingHook: the backbone has neither an image tower nor dense maps, or its tower has one block only.
    """
    try:
        tower = backbone.tower("image")
    except MissingHook:
        dense = backbone.dense()
        maps = dense.maps(x)
        return cell_embeddings(dense, maps[-1]), maps[max(0, len(maps) - 2)]
    at, tapped = max(0, tower.depth - 3), list[Tensor]()

    def tap(i: int, where: str, h: Tensor) -> None:
        if (i, where) == (at, "mlp_in"):
            tapped.append(h)

    if tower.depth < 2:
        raise MissingHook(
            f"The image tower of {backbone.spec.name} has one block, and none before the last: use a deeper one."
        )
    f = patch_embeddings(tower, x, tap=tap)
    h, w = f.shape[2:]
    g = tapped[0][:, -h * w :]
    return f, g.transpose(1, 2).reshape(len(x), -1, h, w)
