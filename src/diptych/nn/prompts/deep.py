"""Deep prompts: free tokens in a tower's input, replaced by other ones before each of its next blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diptych.backbones.towers.edits import insert, overwrite

if TYPE_CHECKING:
    from torch import Tensor

    from diptych.core import Edit, Stage, State


def appended(prompts: Tensor) -> Edit:
    """Return the edit that puts prompts after the patches, and new ones in their place before each later block.

    The first prompts have no positions, and come before the stem's norm.

    Args:
        prompts: (d, n, C), d at most the tower's blocks; the last n tokens are ``prompts[i]`` when block i < d begins.

    Source: Rasheed et al. 2023 (ViFi-CLIP), the vision side of its prompts. Jia et al. 2022 (VPT deep) puts them before
        the patches.
    """

    def edit(stage: Stage, i: int, s: State) -> State:
        if stage == "positioned":
            return insert(s, prompts[0], s.h.shape[1])
        if stage == "before" and 0 < i < len(prompts):
            return overwrite(s, prompts[i], s.h.shape[1] - prompts.shape[1])
        return s

    return edit


def refreshed(prompts: Tensor, at: int) -> Edit:
    """Return the edit that replaces n tokens of the input before each of the blocks 1 to d.

    Args:
        prompts: (d, n, C); block i gets ``prompts[i - 1]``, and block 0 gets the input as it is.
        at: position of the first of the n tokens.

    Source: Khattak et al. 2023 (MaPLe), ViFi-CLIP and AnomalyCLIP, the text side.
    """

    def edit(stage: Stage, i: int, s: State) -> State:
        return overwrite(s, prompts[i - 1], at) if stage == "before" and 1 <= i <= len(prompts) else s

    return edit
