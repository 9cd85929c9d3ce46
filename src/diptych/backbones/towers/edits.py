"""Edits of a State that keep tokens, bias, pooling weights, prefix and kept patches consistent: small pure functions.

An edit callback is a choice of stage and block, and one of these::

    def deep_prompts(stage, i, s):
        return overwrite(s, prompts[i], at=1) if stage == "before" and i > 0 else s
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from diptych.backbones.towers.cut import attention_bias
from diptych.core import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from diptych.core import State


def patch_count(s: State) -> int:
    """Return the number of patch tokens, which begin at ``s.prefix``.

    Raises:
        UsageError: a text state.
    """
    if s.grid is None:
        raise UsageError("A text state has no patch tokens: use insert, remove or overwrite.")
    return s.grid[0] * s.grid[1] if s.kept is None else s.kept.shape[1]


def insert(s: State, tokens: Tensor, at: int) -> State:
    """Insert tokens before position ``at`` (``at = T`` appends).

    All tokens attend to them, or only later tokens where the tower is causal.

    Args:
        s: any state.
        tokens: (n, C) or (B or 1, n, C).
        at: in [0, T]; among image tokens not between patches. At or before ``s.prefix`` the prefix grows.

    Returns:
        The longer state; new tokens have pooling weight 0.

    Raises:
        UsageError: ``at`` is out of range or between patches.
    """
    length = s.h.shape[1]
    if not 0 <= at <= length or (s.grid is not None and s.prefix < at < s.prefix + patch_count(s)):
        raise UsageError(
            f"Tokens cannot be inserted at {at}: give a place in [0, {length}] that does not part the patches."
        )
    rows = (tokens if tokens.dim() == 3 else tokens[None]).to(s.h).expand(s.h.shape[0], -1, -1)
    count = rows.shape[1]
    source = torch.cat([torch.arange(at), torch.zeros(count, dtype=torch.long), torch.arange(at, length)]).to(
        s.h.device
    )
    new = torch.zeros(length + count, dtype=torch.bool, device=s.h.device)
    new[at : at + count] = True
    return replace(
        s,
        h=torch.cat([s.h[:, :at], rows, s.h[:, at:]], dim=1),
        bias=None if s.bias is None else _grown_bias(s.bias, source, new),
        pool=None if s.pool is None else s.pool[:, source].masked_fill(new, 0.0),
        valid=None if s.valid is None else s.valid[:, source] | new,
        prefix=s.prefix + (count if s.grid is not None and at <= s.prefix else 0),
    )


def remove(s: State, at: int, count: int) -> State:
    """Remove ``count`` tokens from position ``at``, such as prompts of the previous block.

    ``keep_patches`` removes patches.

    Raises:
        UsageError: the tokens do not exist, are patches, or have all pooling weight.
    """
    length, stop = s.h.shape[1], at + count
    if not 0 <= at <= stop <= length or (s.grid is not None and at < s.prefix + patch_count(s) and stop > s.prefix):
        raise UsageError(
            f"Tokens {at} to {stop} cannot be removed: they are patches (use keep_patches) or outside the {length} "
            f"tokens."
        )
    left = torch.cat([torch.arange(at), torch.arange(stop, length)]).to(s.h.device)
    fewer = _taken(s, left[None].expand(s.h.shape[0], -1))
    return replace(fewer, prefix=s.prefix - (count if s.grid is not None and at < s.prefix else 0))


def keep_patches(s: State, keep: Tensor) -> State:
    """Keep only some patch tokens of an image state, (B, t) positions among the present ones, and all tokens before and
    after them (A-CLIP's token drop).

    Returns:
        The shorter state, whose ``kept`` is the positions of the patches in the full grid.

    Raises:
        UsageError: a text state, or the dropped tokens have all pooling weight.
    """
    count, device = patch_count(s), s.h.device
    numbers = torch.arange(count, device=device).expand(len(keep), -1) if s.kept is None else s.kept
    before = torch.arange(s.prefix, device=device).expand(len(keep), -1)
    after = torch.arange(s.prefix + count, s.h.shape[1], device=device).expand(len(keep), -1)
    return replace(_taken(s, torch.cat([before, keep + s.prefix, after], dim=1)), kept=numbers.gather(1, keep))


def overwrite(s: State, tokens: Tensor, at: int) -> State:
    """Replace the tokens from ``at`` on by (n, C) or (B or 1, n, C) tokens: deep prompts.

    Raises:
        UsageError: the tokens reach past the end.
    """
    rows = (tokens if tokens.dim() == 3 else tokens[None]).to(s.h.dtype).expand(s.h.shape[0], -1, -1)
    stop = at + rows.shape[1]
    if at < 0 or stop > s.h.shape[1]:
        raise UsageError(f"Tokens {at} to {stop} lie outside the {s.h.shape[1]} tokens: overwrite fewer, or insert.")
    return replace(s, h=torch.cat([s.h[:, :at], rows, s.h[:, stop:]], dim=1))


def fill(s: State, where: Tensor, tokens: Tensor) -> State:
    """Replace the tokens where (B or 1, T) ``where`` is True by ``tokens``, broadcastable to (B, T, C): mask tokens."""
    return replace(s, h=torch.where(where[..., None], tokens.to(s.h.dtype), s.h))


def bidirectional(s: State) -> State:
    """Let every text token attend to all tokens up to the end token, also in a causal tower; padding stays hidden.

    Raises:
        UsageError: the state does not say which tokens are real.
    """
    if s.valid is None:
        raise UsageError("This state does not say which tokens are real: start the text tower from ids.")
    return replace(s, bias=attention_bias(s.valid, False, s.h.shape[1], s.h))


def _grown_bias(bias: Tensor, source: Tensor, new: Tensor) -> Tensor:
    """Return the bias with new tokens inserted.

    Pairs of old tokens keep their bias. A pair with a new token has bias 0, unless its key is padding, or later in a
    causal tower.
    """
    length = bias.shape[-1]
    later = torch.ones(length, length, dtype=torch.bool, device=bias.device).triu(1)
    causal = length > 1 and bool(torch.isneginf(bias[..., later]).all())
    seen = (torch.isfinite(bias.diagonal(dim1=-2, dim2=-1))[..., source] | new)[..., None, :]
    seen = seen.expand(*seen.shape[:-2], len(source), -1)
    if causal:
        seen = seen.tril()
    hidden = torch.zeros(seen.shape, dtype=bias.dtype, device=bias.device).masked_fill(~seen, float("-inf"))
    return torch.where(new[:, None] | new, hidden, bias[..., source, :][..., source])


def _taken(s: State, left: Tensor) -> State:
    """Take the tokens at (B, t) positions; pooling weights keep their sum."""
    bias, pool = s.bias, s.pool
    if bias is not None:
        batch, rows = torch.arange(len(left), device=left.device)[:, None, None], left[:, :, None]
        bias = bias.expand(len(left), -1, -1, -1)[batch, :, rows, left[:, None, :]].movedim(-1, 1)
    if pool is not None:
        total, pool = pool.sum(1, keepdim=True), pool.gather(1, left)
        if bool((pool.sum(1) == 0).any()):
            raise UsageError("These tokens hold all pooling weight (the end token or CLS): keep them.")
        pool = pool * (total / pool.sum(1, keepdim=True))
    valid = None if s.valid is None else s.valid.gather(1, left)
    h = s.h.gather(1, left[..., None].expand(-1, -1, s.h.shape[-1]))
    return replace(s, h=h, bias=bias, pool=pool, valid=valid)
