"""Stem and pooling of image towers: patches, CLS and registers, positions for a grid of any size."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch

from diptych.backbones.towers.cut import CutTower, resize_positions
from diptych.backbones.towers.edits import insert, patch_count
from diptych.core import Resampling, State, UsageError
from diptych.core.backbone import ANTIALIASED

if TYPE_CHECKING:
    from torch import Tensor, nn

    from diptych.backbones.towers.pools import AttentionPool
    from diptych.core import Edit, Inputs

ImagePooling = Literal["cls", "mean", "mean_all", "cls_and_mean", "attention", "attention_all"]


@dataclass(eq=False, repr=False, kw_only=True)
class ImageTower(CutTower):
    """A ViT. Subclasses define the patches, the prefix and the positions.

    Args:
        name, layers, width, heads, token_norm, pooled_norm, head: see ``CutTower``.
        patch: (height, width) of a patch in pixels.
        pooling: "cls", "mean" of the patches, "mean_all" of all tokens, "cls_and_mean", the sum of the first two,
            "attention" over the patches, "attention_all" over all tokens.
        pool: the attention pool, where pooling is by attention.
    """

    patch: tuple[int, int]
    pooling: ImagePooling
    pool: AttentionPool | None = None

    def start(self, x: Inputs, /, *, edit: Edit | None = None, positions: Resampling = ANTIALIASED) -> State:
        """Run the stem on (B, 3, H, W) normalised pixels, or {"pixels": ...}, on the device of the tower.

        ``edit`` is called at "patches" (patch tokens alone), "positioned" (prefix and positions added, pooling weights
        made), "ready". ``positions`` is the one rule by which the table of any library is resized to another grid.

        Raises:
            UsageError: sides that the patch does not divide, or an edit that removed patches without ``kept``.
        """
        pixels = (x["pixels"] if isinstance(x, Mapping) else x).to(next(self.patch_layer.parameters()).device)
        height, width = pixels.shape[-2:]
        if height % self.patch[0] or width % self.patch[1]:
            raise UsageError(
                f"{self.name} takes images whose sides are multiples of {self.patch}, not {height} x {width}: resize "
                f"them."
            )
        patches = self._patches(pixels)
        s = State(patches.flatten(2).transpose(1, 2), grid=(patches.shape[2], patches.shape[3]))
        if edit is not None:
            s = edit("patches", 0, s)
        s = self._positioned(s, positions)
        if edit is not None:
            s = edit("positioned", 0, s)
        s = replace(s, h=self._ready(s.h))
        return s if edit is None else edit("ready", 0, s)

    def patch_tokens(self, s: State) -> Tensor:
        """Return the (B, n, C) patch tokens of a state, normed as the tower norms before pooling."""
        return self.token_norm(s.h[:, s.prefix : s.prefix + patch_count(s)])

    def norm(self, h: Tensor, /) -> Tensor:
        """Apply the norms between the last block and the projection, or before the pool with attention pooling."""
        return super().norm(h) if self.pool is None else self.token_norm(h)

    @property
    @abstractmethod
    def patch_layer(self) -> nn.Module:
        """The module that makes patches of pixels, such as to freeze its parameters."""

    @abstractmethod
    def _patches(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, C, h, w)."""

    @abstractmethod
    def prefix(self) -> Tensor | None:
        """Return (p, C): CLS, then registers; None where the tower has neither."""

    @abstractmethod
    def _positions(self) -> tuple[Tensor | None, Tensor | None, tuple[int, int]]:
        """(p, C) for the prefix, (h*w, C) for the patches, and the (h, w) grid of the latter, as they are stored."""

    def _ready(self, h: Tensor) -> Tensor:
        """Norm at the end of the stem."""
        return h

    def _positioned(self, s: State, rule: Resampling) -> State:
        prefix, (of_prefix, table, native) = self.prefix(), self._positions()
        of_patches = None if table is None or s.grid is None else resize_positions(table, native, s.grid, rule)
        if prefix is not None:
            s = insert(s, prefix, 0)
        count, length = patch_count(s), s.h.shape[1]
        if s.prefix + count > length:
            raise UsageError(
                "The edit at 'patches' lost patch tokens without saying which: drop them with keep_patches."
            )
        h = s.h
        if of_patches is not None:
            rows = of_patches[None] if s.kept is None else of_patches[s.kept]
            span = slice(s.prefix, s.prefix + count)
            h = torch.cat([h[:, : s.prefix], h[:, span] + rows.to(h.dtype), h[:, span.stop :]], dim=1)
        if of_prefix is not None:
            h = torch.cat([h[:, : len(of_prefix)] + of_prefix.to(h.dtype), h[:, len(of_prefix) :]], dim=1)
        return replace(s, h=h, pool=self._weights(s))

    def _weights(self, s: State) -> Tensor | None:
        """(B, T) pooling weights, or None for attention."""
        batch, length = s.h.shape[:2]
        weights = torch.zeros(batch, length, dtype=s.h.dtype, device=s.h.device)
        count = patch_count(s)
        match self.pooling:
            case "cls":
                weights[:, 0] = 1.0
            case "mean":
                weights[:, s.prefix : s.prefix + count] = 1.0 / count
            case "cls_and_mean":
                weights[:, 0] = 1.0
                weights[:, s.prefix : s.prefix + count] = 1.0 / count
            case "mean_all":
                weights[:] = 1.0 / length
            case _:
                return None
        return weights

    def _attention_pooled(self, s: State, h: Tensor) -> Tensor:
        if self.pool is None:
            return super()._attention_pooled(s, h)
        tokens = h if self.pooling == "attention_all" else h[:, s.prefix : s.prefix + patch_count(s)]
        return self.pool(tokens)[:, 0]
