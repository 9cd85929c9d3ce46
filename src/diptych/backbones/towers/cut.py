"""Base of all towers: the loop over blocks, attention bias, position tables.

In train mode, dropout on residual branches is applied; patch dropout and dropout on attention probabilities are not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias

import torch
from torch.nn import functional as F

from diptych.backbones.towers.kernels import fused_attention
from diptych.core import MissingHook, Resampling, State, UsageError
from diptych.core.backbone import ANTIALIASED

if TYPE_CHECKING:
    from torch import Tensor

    from diptych.core import Edit, Inputs, Kernel, Tap

Mix: TypeAlias = "Callable[[Tensor, Tensor, Tensor], Tensor]"
Look: TypeAlias = "Callable[[Tensor], None]"
Map: TypeAlias = "Callable[[Tensor], Tensor]"


class Block(Protocol):
    """One block of a library behind two calls. ``mix(q, k, v)`` is the attention that the tower chose."""

    def attend(self, h: Tensor, mix: Mix, /) -> Tensor:
        """Return all that the attention branch adds to the residual: norms, LayerScale and drop path included."""

    def rest(self, h: Tensor, attended: Tensor, look: Look | None, /) -> Tensor:
        """Return the block's output; ``look`` is called with the input of the MLP."""


@dataclass(eq=False, repr=False)
class CutTower(ABC):
    """A tower of stem, blocks and head; subclasses add the stem.

    Args:
        layers: the blocks, in order.
        width: C.
        head: map (..., C) to (..., D).
    """

    name: str
    layers: Sequence[Block]
    width: int
    heads: int
    _: KW_ONLY
    token_norm: Map
    pooled_norm: Map
    head: Map

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.layers)

    @abstractmethod
    def start(self, x: Inputs, /, *, edit: Edit | None = None, positions: Resampling = ANTIALIASED) -> State:
        """Run the stem; see ``core.backbone.Tower.start``."""

    def embed(self, ids: Tensor, /) -> Tensor:
        """Return raw token embeddings; text towers only.

        Raises:
            MissingHook: this is no text tower.
        """
        raise MissingHook(f"The image tower of {self.name} embeds no token ids: ask the text tower.")

    def blocks(
        self,
        s: State,
        /,
        first: int = 0,
        stop: int | None = None,
        *,
        edit: Edit | None = None,
        kernel: Kernel | None = None,
        tap: Tap | None = None,
    ) -> State:
        """Run blocks ``first`` to ``stop - 1``.

        Args:
            s: state before block ``first``.
            first: first block, from 0.
            stop: one past the last block, in [first, depth]; None: to the end.
            edit: called "before" and "after" each block.
            kernel: attention of these blocks; None: fused softmax attention.
            tap: called with (i, "mlp_in", the normed input of the MLP) and (i, "out", the output before the edit).

        Raises:
            UsageError: the range is outside the tower.
        """
        stop = self.depth if stop is None else stop
        if not 0 <= first <= stop <= self.depth:
            raise UsageError(
                f"Blocks {first} to {stop} lie outside the {self.depth} blocks of {self.name}: give 0 <= first <= "
                f"stop <= {self.depth}."
            )
        for i in range(first, stop):
            if edit is not None:
                s = edit("before", i, s)
            h = self.layers[i].rest(s.h, self.attend(s, i, kernel), None if tap is None else partial(tap, i, "mlp_in"))
            if tap is not None:
                tap(i, "out", h)
            s = replace(s, h=h)
            if edit is not None:
                s = edit("after", i, s)
        return s

    def attend(self, s: State, i: int, kernel: Kernel | None = None, /) -> Tensor:
        """Return what the attention branch of block i adds to the residual, (B, T, C)."""
        chosen = fused_attention if kernel is None else kernel

        def mix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return chosen(i, *self._turn(s, i, q, k), v, s.bias)

        return self.layers[i].attend(s.h, mix)

    def rest(self, s: State, i: int, attended: Tensor, /) -> State:
        """Return the state after residual + MLP of block i."""
        return replace(s, h=self.layers[i].rest(s.h, attended, None))

    def norm(self, h: Tensor, /) -> Tensor:
        """Apply the norms between the last block and the projection."""
        return self.pooled_norm(self.token_norm(h))

    def project(self, h: Tensor, /) -> Tensor:
        """Map (..., C) to (..., D)."""
        return self.head(h)

    def pooled(self, s: State, /) -> Tensor:
        """Return (B, C), normed and pooled by ``s.pool``, before the projection."""
        h = self.token_norm(s.h)
        return self.pooled_norm(
            self._attention_pooled(s, h) if s.pool is None else torch.einsum("bt,btc->bc", s.pool.to(h.dtype), h)
        )

    def _turn(self, s: State, i: int, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Rotate queries and keys; towers without rotary positions return them as they are."""
        return q, k

    def _attention_pooled(self, s: State, h: Tensor) -> Tensor:
        raise UsageError(
            f"This state has no pooling weights, and {self.name} has no attention pool: keep State.pool when you edit."
        )


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, heads * d) to (B, heads, T, d)."""
    return x.view(*x.shape[:-1], heads, -1).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, heads, T, d) to (B, T, heads * d)."""
    return x.transpose(1, 2).flatten(2)


def attention_bias(valid: Tensor | None, causal: bool, length: int, like: Tensor) -> Tensor | None:
    """Return the bias that hides padding keys and, if causal, later tokens.

    Args:
        valid: (B, T) bool, True for tokens that may be attended to; None: all.
        causal: whether a token attends only to itself and earlier ones.
        length: T.
        like: tensor with the dtype and device of the result.

    Returns:
        (B or 1, 1, T, T) of 0 and -inf; None if nothing is hidden.
    """
    if valid is None and not causal:
        return None
    visible = torch.ones(1, 1, length, length, dtype=torch.bool, device=like.device)
    if causal:
        visible = visible.tril()
    if valid is not None:
        visible = visible & valid[:, None, None, :]
    return torch.zeros(visible.shape, dtype=like.dtype, device=like.device).masked_fill(~visible, float("-inf"))


def resize_positions(table: Tensor, old: tuple[int, int], new: tuple[int, int], rule: Resampling) -> Tensor:
    """Resample an (h*w, C) position table from one grid to another; the table itself where they are equal."""
    if old == new:
        return table
    square = table.float().T.reshape(1, -1, *old)
    resized = F.interpolate(square, size=new, mode=rule.mode, align_corners=False, antialias=rule.antialias)
    return resized.flatten(2)[0].T.to(table.dtype)
