"""Windows of cells of an image, and the embedding of each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.backbones.towers.edits import keep_patches
from diptych.core import Backbone, Dense, MissingHook, Stage, State, Tower

_WINDOWS = 64  # windows in one pass of a tower


def window_cells(grid: tuple[int, int], side: int) -> Tensor:
    """Return the (W, side^2) cells, row by row, of all windows of ``side`` x ``side`` cells in a grid.

    If the grid is smaller than a window, it is one window.
    """
    rows, columns = min(side, grid[0]), min(side, grid[1])
    numbers = torch.arange(grid[0] * grid[1], dtype=torch.float32).reshape(1, 1, *grid)
    return F.unfold(numbers, (rows, columns))[0].T.long()


def tower_windows(tower: Tower, x: Tensor, cells: Tensor) -> Tensor:
    """Return the (W, D) embeddings of windows of an image, of which the tower gets only the window's patches.

    Patches keep their own positions.

    Args:
        tower: of the image.
        x: (1, 3, H, W) normalised pixels.
        cells: (W, n) cells of the windows.
    """
    parts = []
    for part in torch.split(cells, _WINDOWS):

        def only(stage: Stage, i: int, s: State, keep: Tensor = part) -> State:
            return keep_patches(s, keep.to(s.h.device)) if stage == "patches" else s

        s = tower.start(x.expand(len(part), -1, -1, -1), edit=only)
        parts.append(tower.project(tower.pooled(tower.blocks(s))))
    return torch.cat(parts)


def dense_windows(dense: Dense, m: Tensor, cells: Tensor) -> Tensor:
    """Return the (W, D) embeddings of windows of a dense map, each pooled by itself.

    Args:
        dense: of the backbone.
        m: (1, C, h, w), its last map.
        cells: (W, n) cells of the windows.
    """
    weights = m.new_zeros(len(cells), m.shape[2] * m.shape[3])
    weights.scatter_(1, cells.to(m.device), 1.0)
    return dense.project(dense.pool(m, torch.unflatten(weights, 1, m.shape[2:])[None]))[0]


def windows_of(backbone: Backbone, x: Tensor) -> tuple[tuple[int, int], Tensor, Callable[[Tensor], Tensor]]:
    """Return the grid of an image, the (1, D) embedding of the whole image, and the function that embeds windows.

    The function takes (W, n) cells. It uses the image tower or, where there is none, the last dense map.

    Args:
        backbone: embeds.
        x: (1, 3, H, W) normalised pixels.

    Raises:
        MissingHook: the backbone has neither an image tower nor dense maps.
    """
    dense = backbone.dense()
    try:
        tower = backbone.tower("image")
    except MissingHook:
        m = dense.maps(x)[-1]
        return (m.shape[2], m.shape[3]), dense.project(dense.pool(m))[0], lambda cells: dense_windows(dense, m, cells)
    stride = dense.strides[-1]
    whole = tower.project(tower.pooled(tower.blocks(tower.start(x))))
    return (x.shape[2] // stride, x.shape[3] // stride), whole, lambda cells: tower_windows(tower, x, cells)


def harmonic_map(values: Tensor, cells: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return (h, w), for each cell the harmonic mean of the values of the windows that hold it.

    Args:
        values: (W,) in (0, 1].
        cells: (W, n) cells of the windows; every cell of the grid is in one.
        grid: (h, w).
    """
    inverse, count = values.new_zeros(grid[0] * grid[1]), values.new_zeros(grid[0] * grid[1])
    flat = cells.reshape(-1)
    inverse.index_add_(0, flat, (1 / values.clamp_min(1e-12)).repeat_interleave(cells.shape[1]))
    count.index_add_(0, flat, torch.ones_like(flat, dtype=values.dtype))
    return (count / inverse).reshape(grid)
