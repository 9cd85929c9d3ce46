"""An image tower in one pass: the embedding of the image, and the tokens of its cells before the projection."""

from __future__ import annotations

import torch
from torch import Tensor

from diptych.backbones.towers.edits import patch_count
from diptych.core import Inputs, MissingHook, Space


def whole_and_cells(space: Space, x: Inputs) -> tuple[Tensor, Tensor]:
    """Return (B, D) image embeddings, not normalised, and (B, C, h, w) tokens, normed as before the pooling.

    The tokens are patches of an image tower or, without one, cells of the last map. Gradients pass through both.

    Raises:
        MissingHook: the space has neither, or its maps are not what it pools.

    Example:
        >>> import torch
        >>> import diptych
        >>> space = diptych.load("tiny")
        >>> whole, cells = whole_and_cells(space, space.image.inputs([torch.zeros(3, 64, 64)]))
        >>> tuple(whole.shape), tuple(cells.shape)
        ((1, 128), (1, 192, 8, 8))
    """
    pixels = x if isinstance(x, Tensor) else x["pixels"]
    try:
        tower = space.tower("image")
    except MissingHook:
        dense = space.dense()
        m = dense.maps(pixels)[-1]
        return dense.project(dense.pool(m)[:, 0]).float(), m.float()
    s = tower.blocks(tower.start(pixels))
    assert s.grid is not None, "image towers have a grid"
    cells = tower.norm(s.h[:, s.prefix : s.prefix + patch_count(s)])
    whole = tower.project(tower.pooled(s))
    return whole.float(), torch.unflatten(cells.transpose(1, 2), 2, s.grid).float()
