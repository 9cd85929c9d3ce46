"""A frozen ViT as part of a generator: its maps after some blocks, and its blocks on a map that is no picture."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from diptych.backbones.towers.edits import insert, patch_count, remove
from diptych.core import Backbone, Stage, State, Tower
from diptych.data.pixels import normalise

TAPS, PROMPTED, OF = (1, 4, 8), (1, 8), 12
"""Blocks whose maps are read, and first and last block that sees a prompt, of 12 (Tao et al. 2023)."""


def tapped(depth: int) -> tuple[int, ...]:
    """Return the numbers of the blocks whose maps are read, in a tower of ``depth`` blocks.

    Example:
        >>> tapped(12), tapped(4)
        ((1, 4, 8), (0, 1, 3))
    """
    return tuple(min(depth - 1, round(depth * k / OF)) for k in TAPS)


def prompted_blocks(depth: int) -> range:
    """Return the numbers of the blocks that see a prompt, in a tower of ``depth`` blocks.

    Example:
        >>> prompted_blocks(12)
        range(1, 9)
    """
    first, last = (min(depth - 1, round(depth * k / OF)) for k in PROMPTED)
    return range(first, last + 1)


def as_input(backbone: Backbone, pictures: Tensor) -> Tensor:
    """Return normalised pixels of the image tower's size; gradients pass.

    Args:
        backbone: with pixels as inputs.
        pictures: (B, 3, S, S) around [0, 1].
    """
    size = backbone.image.size
    if size is not None and pictures.shape[-1] != size:
        pictures = interpolate(pictures, size=(size, size), mode="bilinear", align_corners=False)
    return normalise(pictures, backbone.spec.pixels)


def block_maps(tower: Tower, pixels: Tensor) -> tuple[Tensor, State]:
    """Return the (B, 3, C, h, w) maps after the blocks of ``tapped``, and the state after the last block.

    Args:
        tower: of the image.
        pixels: (B, 3, H, W), normalised.
    """
    s, maps, done = tower.start(pixels), [], 0
    for k in tapped(tower.depth):
        s = tower.blocks(s, done, k + 1)
        done = k + 1
        maps.append(_map_of(s))
    return torch.stack(maps, dim=1), tower.blocks(s, done)


def prompted_map(tower: Tower, bridge: Tensor, prompts: Tensor, side: int) -> Tensor:
    """Return the (B, C, h, w) map that a tower makes of a map, with one prompt in each of some blocks.

    A prompt is appended before its block, and dropped after it.

    Args:
        tower: of the image.
        bridge: (B, C, h, w), in the place of the patches before positions are added.
        prompts: (B, n, C) of the n blocks of ``prompted_blocks``.
        side: of the tower's input, in pixels.
    """
    blocks = prompted_blocks(tower.depth)

    def edit(stage: Stage, i: int, s: State) -> State:
        if stage == "patches":
            return replace(s, h=bridge.flatten(2).transpose(1, 2))
        if stage == "before" and i in blocks:
            return insert(s, prompts[:, i - blocks.start, None], s.h.shape[1])
        if stage == "after" and i in blocks:
            return remove(s, s.h.shape[1] - 1, 1)
        return s

    blank = bridge.new_zeros(len(bridge), 3, side, side)
    return _map_of(tower.blocks(tower.start(blank, edit=edit), edit=edit))


def _map_of(s: State) -> Tensor:
    assert s.grid is not None, "image towers have a grid"
    cells = s.h[:, s.prefix : s.prefix + patch_count(s)]
    return cells.transpose(1, 2).reshape(len(cells), -1, *s.grid)
