"""Towers of timm's VisionTransformer and Eva (EVA-02, PE, DINOv3).

They cover registers, LayerScale, qk-norm, rotary positions and attention pools.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from diptych.backbones.towers.cut import Look, Mix, merge_heads, split_heads
from diptych.backbones.towers.edits import patch_count
from diptych.backbones.towers.image import ImagePooling, ImageTower
from diptych.backbones.towers.pools import LatentPool
from diptych.core import MissingHook

if TYPE_CHECKING:
    from torch import Tensor

    from diptych.core import State

_PRE, _POST = {"Block", "EvaBlock"}, {"ResPostBlock", "EvaBlockPostNorm"}
_ATTENTION = {"Attention", "AttentionRope", "EvaAttention"}


@dataclass(frozen=True)
class TimmBlock:
    """Pre-norm and residual-post-norm blocks with any of timm's three dot-product attentions."""

    module: Any
    post: bool

    def attend(self, h: Tensor, mix: Mix, /) -> Tensor:
        """Return the attention branch."""
        block, attn = self.module, self.module.attn
        x = h if self.post else block.norm1(h)
        q, k, v = _queries_keys_values(attn, x)
        out = (
            attn.norm(merge_heads(mix(attn.q_norm(q), attn.k_norm(k), v)))
            if hasattr(attn, "norm")
            else merge_heads(mix(q, k, v))
        )
        if getattr(attn, "gate", None) is not None:
            out = out * attn.gate(x).sigmoid()
        out = attn.proj_drop(attn.proj(out))
        return block.drop_path1(block.norm1(out) if self.post else _scaled(block, out, "1"))

    def rest(self, h: Tensor, attended: Tensor, look: Look | None, /) -> Tensor:
        """Return the block's output."""
        block, h = self.module, h + attended
        x = h if self.post else block.norm2(h)
        if look is not None:
            look(x)
        y = block.mlp(x)
        return h + block.drop_path2(block.norm2(y) if self.post else _scaled(block, y, "2"))


class TimmTower(ImageTower):
    """A timm ViT or Eva trunk.

    Args:
        trunk: the module, whose head runs in ``project``.
        head: the module after the trunk (open_clip's ``TimmModel.head``); None: nothing.

    Raises:
        MissingHook: blocks, stems or poolings that are not of this family.
    """

    def __init__(self, trunk: Any, head: nn.Module | None, name: str) -> None:
        self.trunk = trunk
        pool = getattr(trunk, "attn_pool", None)
        kinds = {type(b).__name__ for b in trunk.blocks} | {
            type(b.attn).__name__ for b in trunk.blocks if hasattr(b, "attn")
        }
        if not kinds <= _PRE | _POST | _ATTENTION:
            raise MissingHook(
                f"{name} is built of {', '.join(sorted(kinds))}, which this tower cannot cut: use a plain timm ViT or "
                f"EVA."
            )
        embed = trunk.patch_embed
        if hasattr(embed, "backbone"):
            ratio = embed.feature_ratio
            patch = (ratio[0] * embed.patch_size[0], ratio[1] * embed.patch_size[1])
        else:
            patch = embed.patch_size
        super().__init__(
            name,
            [TimmBlock(b, type(b).__name__ in _POST) for b in trunk.blocks],
            trunk.embed_dim,
            trunk.blocks[0].attn.num_heads,
            token_norm=trunk.norm,
            pooled_norm=trunk.fc_norm,
            head=nn.Sequential(trunk.head_drop, trunk.head, nn.Identity() if head is None else head),
            patch=patch,
            pooling=_pooling(trunk, name),
            pool=None if pool is None else LatentPool(pool),
        )

    @property
    def patch_layer(self) -> nn.Module:
        """The patch embedding, with its norm and convolutions where it has them."""
        return self.trunk.patch_embed

    def _patches(self, pixels: Tensor) -> Tensor:
        embed = self.trunk.patch_embed
        patches: Tensor = embed.proj(embed.backbone(pixels) if hasattr(embed, "backbone") else pixels)
        norm = getattr(embed, "norm", None)
        return patches if norm is None else norm(patches.movedim(1, -1)).movedim(-1, 1)

    def prefix(self) -> Tensor | None:
        """Return CLS and registers (p, C)."""
        tokens = [t[0] for t in (self.trunk.cls_token, self.trunk.reg_token) if t is not None]
        return torch.cat(tokens) if tokens else None

    def _positions(self) -> tuple[Tensor | None, Tensor | None, tuple[int, int]]:
        height, width = self.trunk.patch_embed.grid_size
        if self.trunk.pos_embed is None:
            return None, None, (height, width)
        table, count = self.trunk.pos_embed[0], 0 if self.trunk.no_embed_class else self.trunk.num_prefix_tokens
        return table[:count] if count else None, table[count:], (height, width)

    def _ready(self, h: Tensor) -> Tensor:
        h = self.trunk.pos_drop(h)
        return self.trunk.norm_pre(h) if hasattr(self.trunk, "norm_pre") else h

    def _turn(self, s: State, i: int, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Rotate the patches' queries and keys by their place in the grid; prefix and suffix tokens have no place."""
        rope = getattr(self.trunk, "rope", None)
        if rope is None or s.grid is None:
            return q, k
        from timm.layers import apply_rot_embed_cat

        angles = _angles(rope, s.grid, tuple(self.trunk.patch_embed.grid_size))
        if getattr(self.trunk, "rope_mixed", False):
            angles = angles[i]
        if s.kept is not None:  # (n, d) -> (B, 1, t, d); a mixed table (heads, n, d) -> (B, heads, t, d)
            angles = angles[s.kept][:, None] if angles.dim() == 2 else angles[:, s.kept].transpose(0, 1)
        span, half = (
            slice(s.prefix, s.prefix + patch_count(s)),
            getattr(self.trunk.blocks[i].attn, "rotate_half", False),
        )

        def turned(x: Tensor) -> Tensor:
            spun = (
                apply_rot_embed_cat(x[:, :, span], angles, half) if half else apply_rot_embed_cat(x[:, :, span], angles)
            )
            return torch.cat([x[:, :, : span.start], spun.to(x.dtype), x[:, :, span.stop :]], dim=2)

        return turned(q), turned(k)


def _pooling(trunk: Any, name: str) -> ImagePooling:
    pool, eva = getattr(trunk, "attn_pool", None), hasattr(trunk, "rope")
    if pool is not None:
        if type(pool).__name__ != "AttentionPoolLatent" or getattr(pool, "latent_len", 1) != 1:
            raise MissingHook(
                f"{name} pools by {type(pool).__name__}, which this tower cannot cut: use a ViT that pools by CLS, "
                f"mean or one latent."
            )
        return "attention_all" if eva or getattr(trunk, "pool_include_prefix", False) else "attention"
    if trunk.global_pool == "token":
        return "cls"
    if trunk.global_pool == "avg":
        return "mean_all" if getattr(trunk, "pool_include_prefix", False) else "mean"
    raise MissingHook(
        f"{name} pools by {trunk.global_pool!r}, which is no weighted sum of tokens: use a ViT that pools by CLS, "
        f"mean or attention."
    )


def _queries_keys_values(attn: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if attn.qkv is None:
        q = split_heads(attn.q_proj(x), attn.num_heads)
        groups = getattr(attn, "num_kv_groups", 1)
        k, v = (
            split_heads(proj(x), attn.num_heads // groups).repeat_interleave(groups, dim=1)
            for proj in (attn.k_proj, attn.v_proj)
        )
        return q, k, v
    fused = attn.qkv(x)
    if getattr(attn, "q_bias", None) is not None:
        fused = fused + torch.cat((attn.q_bias, attn.k_bias, attn.v_bias))
    q, k, v = (split_heads(t, attn.num_heads) for t in fused.chunk(3, -1))
    return q, k, v


def _scaled(block: Any, x: Tensor, which: str) -> Tensor:
    """LayerScale: a module in VisionTransformer, a bare parameter in Eva."""
    if hasattr(block, f"ls{which}"):
        return getattr(block, f"ls{which}")(x)
    gamma: Tensor | None = getattr(block, f"gamma_{which}")
    return x if gamma is None else gamma * x


def _angles(rope: Any, grid: tuple[int, int], native: tuple[int, int]) -> Tensor:
    """Return the rotary table of a grid; for another grid than the trunk's, it is computed on a copy."""
    if getattr(rope, "feat_shape", None) is not None and grid != native:
        rope = copy.deepcopy(rope)
        rope.update_feat_shape(list(grid))
    return rope.get_embed() if getattr(rope, "feat_shape", None) is not None else rope.get_embed(shape=list(grid))
