"""Mask prompts: learnt tokens in the place of patches that a mask hides, at the input and after the first blocks.

    T <- T M + P_0 (1 - M)         patches, before CLS and positions
    T <- T M + P_i (1 - M)         patches, after block i, for i = 1 .. d - 1

T: (n, C) patch tokens;  M: (n,) 1 for patches with any kept pixel;  P: (d, n, C) prompts
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.backbones.towers.edits import fill, patch_count
from diptych.core import UsageError

if TYPE_CHECKING:
    from diptych.core import Edit, Stage, State


def mask_prompts(prompts: Tensor, visible: Tensor) -> Edit:
    """Return the edit that puts prompts in the place of hidden patches; where nothing is hidden it changes nothing.

    Args:
        prompts: (d, n, C), d at least 1 and at most the tower's blocks.
        visible: (B, n) bool.

    Raises:
        UsageError: when the tower runs, if it has another number of patches than n.

    Source: Liang et al. 2023 (OVSeg), section 3.3 (mask prompt tuning).
    """

    def edit(stage: Stage, i: int, s: State) -> State:
        layer = 0 if stage == "patches" else i + 1
        if stage not in ("patches", "after") or layer >= len(prompts):
            return s
        count, prefix = patch_count(s), 0 if stage == "patches" else s.prefix
        if count != prompts.shape[1]:
            raise UsageError(
                f"These prompts are for {prompts.shape[1]} patches, and the tower has {count}: give crops of the side "
                "that they were learnt on."
            )
        rest = s.h.shape[1] - prefix - count
        where = F.pad(~visible, (prefix, rest))
        return fill(s, where, F.pad(prompts[layer], (0, 0, prefix, rest))[None])

    return edit


def fresh_prompts(depth: int, patches: int, width: int) -> Tensor:
    """Return (depth, patches, width) prompts, normal with deviation 0.02, from torch's global generator.

    Source: Liang et al. 2023 (OVSeg), the released start.
    """
    return torch.randn(depth, patches, width) * 0.02
