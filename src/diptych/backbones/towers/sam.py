"""The image tower of SAM: windowed and global attention with decomposed relative positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from diptych.backbones.towers.cut import Mix, merge_heads, split_heads
from diptych.backbones.towers.hf_clip import EncoderLayer
from diptych.backbones.towers.image import ImageTower
from diptych.backbones.towers.kernels import fused_attention
from diptych.core import MissingHook, State, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from diptych.core import Kernel


class SamBlock(EncoderLayer):
    """SamVisionLayer: pre-norm; windows and relative positions are the tower's, which knows the grid."""

    def attend(self, h: Tensor, mix: Mix, /) -> Tensor:
        """Refuse: without its grid, a block has no windows.

        Raises:
            UsageError: always.
        """
        raise UsageError("A block of SAM attends in windows of a grid: call attend of its tower.")


class SamTower(ImageTower):
    """transformers' SamVisionEncoder up to its neck.

    Kernels get the relative positions as their bias. In a block with windows they get each window as an item of the
    batch: (B * windows, heads, tokens of a window, d), where padded cells are tokens too.
    """

    def __init__(self, encoder: Any, name: str) -> None:
        self.encoder, config = encoder, encoder.config
        super().__init__(
            name,
            [SamBlock(layer) for layer in encoder.layers],
            config.hidden_size,
            config.num_attention_heads,
            token_norm=nn.Identity(),
            pooled_norm=nn.Identity(),
            head=nn.Identity(),
            patch=(config.patch_size, config.patch_size),
            pooling="mean",
        )

    @property
    def patch_layer(self) -> nn.Module:
        """The patch embedding."""
        return self.encoder.patch_embed

    def _patches(self, pixels: Tensor) -> Tensor:
        return self.encoder.patch_embed.projection(pixels)

    def prefix(self) -> Tensor | None:
        """Return None: SAM has no CLS token."""
        return None

    def _positions(self) -> tuple[Tensor | None, Tensor | None, tuple[int, int]]:
        side = self.encoder.config.image_size // self.encoder.config.patch_size
        table = self.encoder.pos_embed
        return None, None if table is None else table[0].flatten(0, 1), (side, side)

    def attend(self, s: State, i: int, kernel: Kernel | None = None, /) -> Tensor:
        """Return what the attention branch of block i adds to the residual, (B, T, C).

        Raises:
            MissingHook: patches were dropped or tokens added, so that there is no grid.
        """
        if s.grid is None or s.kept is not None or s.h.shape[1] != s.grid[0] * s.grid[1]:
            raise MissingHook(f"{self.name} attends on its whole grid: do not drop or add tokens.")
        layer: Any = self.encoder.layers[i]
        attn, side = layer.attn, layer.window_size
        x = layer.layer_norm1(s.h).reshape(len(s.h), *s.grid, -1)
        padded = None
        if side:
            x, padded = layer.window_partition(x, side)
        grid = (x.shape[1], x.shape[2])
        q, k, v = (split_heads(t.flatten(1, 2), attn.num_attention_heads) for t in attn.qkv(x).chunk(3, dim=-1))
        bias = None
        if attn.use_rel_pos:
            rows = attn.get_decomposed_rel_pos(q.flatten(0, 1), attn.rel_pos_h, attn.rel_pos_w, grid, grid)
            bias = rows.reshape(*q.shape[:3], q.shape[2])
        mixed = merge_heads((kernel or fused_attention)(i, q, k, v, bias)).reshape(len(x), *grid, -1)
        out = attn.proj(mixed)
        if padded is not None:
            out = layer.window_unpartition(out, side, padded, s.grid)
        return out.flatten(1, 2)

    def neck(self, s: State) -> Tensor:
        """Return the (B, C', h, w) map that SAM's mask decoder reads."""
        assert s.grid is not None
        return self.encoder.neck(s.h.reshape(len(s.h), *s.grid, -1))
