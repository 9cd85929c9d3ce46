"""A longer table of text positions: the first rows are kept, the others interpolated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from diptych.core import MissingHook, Spec, UsageError


def longer(module: nn.Module, spec: Spec, *, kept: int, ratio: int) -> Spec:
    """Give the text tower of an open_clip model more positions, by ``stretched``. Modified in place.

    Args:
        module: open_clip's CLIP, CoCa or CustomTextCLIP with a text transformer.
        spec: what it is.
        kept: first rows that stay as they are, in [0, context).
        ratio: new rows for each of the others, >= 1.

    Returns:
        The spec with the longer context, kept + (context - kept) ratio.

    Raises:
        MissingHook: the text tower has no table of positions.
        UsageError: a number is out of its range.
    """
    text: Any = getattr(module, "text", module)
    table = getattr(text, "positional_embedding", None)
    if not isinstance(table, nn.Parameter) or getattr(text, "cls_emb", None) is not None:
        raise MissingHook(
            f"The text tower of {spec.name} has no table of positions that can be lengthened: use an open_clip CLIP."
        )
    text.positional_embedding = nn.Parameter(stretched(table.detach(), kept, ratio), requires_grad=table.requires_grad)
    context = len(text.positional_embedding)
    for owner in {id(o): o for o in (module, text)}.values():
        if hasattr(owner, "context_length"):
            owner.context_length = context
    if text.attn_mask is not None:
        causal = torch.full((context, context), float("-inf"), device=table.device).triu(1)
        text.register_buffer("attn_mask", causal.to(text.attn_mask.dtype), persistent=False)
    return replace(spec, context=context)


def stretched(table: Tensor, kept: int, ratio: int) -> Tensor:
    """Return a position table whose rows after the first ``kept`` are stretched by linear interpolation.

        new[i]             = old[i]                                            for i < kept
        new[kept + r j + q] = (1 - q / r) old[kept + j] + q / r old[kept + j + 1]   for q = 0 .. r - 1

    Past the last row the line through the last two goes on.

    Args:
        table: (T, C) positions.
        kept: first rows that stay, in [0, T - 2].
        ratio: r, >= 1; 1 returns the table.

    Returns:
        (kept + (T - kept) r, C).

    Raises:
        UsageError: a number is out of its range.

    Source: Zhang et al. 2024 (Long-CLIP), section 3.1: 20 kept rows and r = 4 make 248 of 77.

    Example:
        >>> stretched(torch.tensor([[0.0], [5.0], [7.0], [9.0]]), kept=1, ratio=2).flatten().tolist()
        [0.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    """
    if not 0 <= kept <= len(table) - 2 or ratio < 1:
        raise UsageError(
            f"kept must be in [0, {len(table) - 2}] and ratio at least 1, got {kept} and {ratio}: give such numbers."
        )
    tail = table[kept:]
    after = torch.cat([tail[1:], (2 * tail[-1] - tail[-2])[None]])
    share = (torch.arange(ratio, device=table.device, dtype=table.dtype) / ratio)[None, :, None]
    between = (1 - share) * tail[:, None] + share * after[:, None]
    return torch.cat([table[:kept], between.flatten(0, 1)])
