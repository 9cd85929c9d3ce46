"""Towers of open_clip's own residual attention blocks, image and text, plain and custom."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from diptych.backbones.towers.cut import Block, Look, Mix, attention_bias, merge_heads, split_heads
from diptych.backbones.towers.image import ImagePooling, ImageTower
from diptych.backbones.towers.pools import AttentionPool, ContrastiveQuery
from diptych.backbones.towers.region_slots import RegionSlots, SlotPool
from diptych.backbones.towers.text import TextTower
from diptych.core import MissingHook, State

if TYPE_CHECKING:
    from torch import Tensor


_POOLINGS: dict[str, ImagePooling] = {"tok": "cls", "avg": "mean", "tok+avg": "cls_and_mean"}
"""open_clip's names of poolings, and that of ``changes.cls_and_patches`` -> ours."""


@dataclass(frozen=True)
class ResidualBlock:
    """ResidualAttentionBlock and CustomResidualAttentionBlock.

    Their variants are pre-norm, LayerScale, head scale, inner norms and qk-norm.
    """

    module: Any

    def attend(self, h: Tensor, mix: Mix, /) -> Tensor:
        """Return the attention branch."""
        block, attn = self.module, self.module.attn
        q, k, v = (
            split_heads(t, attn.num_heads)
            for t in F.linear(block.ln_1(h), attn.in_proj_weight, attn.in_proj_bias).chunk(3, -1)
        )
        if isinstance(attn, nn.MultiheadAttention):
            out = attn.out_proj(merge_heads(mix(q, k, v)))
        else:
            mixed = mix(attn.ln_q(q), attn.ln_k(k), v)
            mixed = mixed if attn.head_scale is None else mixed * attn.head_scale
            out = block.ln_attn(attn.out_drop(attn.out_proj(attn.ln_inner(merge_heads(mixed)))))
        return block.ls_1(out)

    def rest(self, h: Tensor, attended: Tensor, look: Look | None, /) -> Tensor:
        """Return the block's output."""
        h = h + attended
        x = self.module.ln_2(h)
        if look is not None:
            look(x)
        return h + self.module.ls_2(self.module.mlp(x))


@dataclass(frozen=True)
class MixerBlock:
    """``changes.text_mixers.TextRepMixer``, which mixes tokens by a convolution, and has no attention to replace."""

    module: Any

    def attend(self, h: Tensor, mix: Mix, /) -> Tensor:
        """Return the convolutional branch."""
        return self.module.mixed(h)

    def rest(self, h: Tensor, attended: Tensor, look: Look | None, /) -> Tensor:
        """Return the block's output."""
        h = h + attended
        x = self.module.mlp_input(h)
        if look is not None:
            look(x)
        return h + self.module.channel_scale * self.module.mlp(x)


def residual_blocks(name: str, transformer: Any) -> list[Block]:
    """Return the blocks of an open_clip Transformer.

    Raises:
        MissingHook: cosine attention, whose temperature the kernels do not have, or a wrapper (LoRA) of fused
            attention.
    """
    attending = attending_blocks(transformer)
    if not all(isinstance(b.attn, nn.MultiheadAttention) or hasattr(b.attn, "ln_q") for b in attending):
        wrapper = type(attending[0].attn).__name__
        raise MissingHook(
            f"{name} has adapters ({wrapper}) round its fused attention, which would be lost in the tower: merge them "
            f"first."
        )
    if any(getattr(b.attn, "logit_scale", None) is not None for b in attending):
        raise MissingHook(
            f"{name} attends by scaled cosines, which kernels cannot replace: use a backbone with dot-product "
            f"attention."
        )
    return [ResidualBlock(b) if b in attending else MixerBlock(b) for b in transformer.resblocks]


def attending_blocks(transformer: Any) -> list[Any]:
    """Return the blocks of an open_clip Transformer that attend."""
    return [b for b in transformer.resblocks if hasattr(b, "attn")]


def _projected(visual: Any, h: Tensor) -> Tensor:
    return h if visual.proj is None else h @ visual.proj


class OpenClipImageTower(ImageTower):
    """open_clip's VisionTransformer.

    Args:
        visual: the module, ``CLIP.visual``.

    Raises:
        MissingHook: a pooling other than CLS, mean or CoCa's attention pool.
    """

    def __init__(self, visual: Any, name: str) -> None:
        self.visual = visual
        pooling: ImagePooling
        if visual.attn_pool is not None:
            if visual.attn_pool_contrastive is not None or visual.pool_type != "tok":
                raise MissingHook(
                    f"{name} pools by two attention pools, which no tower here knows: use a backbone that pools by "
                    f"CLS or mean."
                )
            pooling, after = "attention_all", True
        elif visual.pool_type in _POOLINGS:
            pooling, after = _POOLINGS[visual.pool_type], visual.final_ln_after_pool
        else:
            raise MissingHook(
                f"{name} pools by {visual.pool_type!r}, so no vector comes out of it: use a backbone that pools by "
                f"CLS or mean."
            )
        super().__init__(
            name,
            residual_blocks(name, visual.transformer),
            visual.conv1.out_channels,
            visual.transformer.resblocks[0].attn.num_heads,
            token_norm=nn.Identity() if after else visual.ln_post,
            pooled_norm=visual.ln_post if after else nn.Identity(),
            head=partial(_projected, visual),
            patch=visual.patch_size,
            pooling=pooling,
            pool=_pool_of(visual.attn_pool),
        )

    @property
    def patch_layer(self) -> nn.Module:
        """The patch embedding."""
        return self.visual.conv1

    def _patches(self, pixels: Tensor) -> Tensor:
        return self.visual.conv1(pixels)

    def prefix(self) -> Tensor | None:
        """Return CLS (1, C)."""
        cls: Tensor = self.visual.class_embedding
        return cls[None]

    def _positions(self) -> tuple[Tensor | None, Tensor | None, tuple[int, int]]:
        table, (height, width) = self.visual.positional_embedding, self.visual.grid_size
        return table[:1], table[1:], (height, width)

    def _ready(self, h: Tensor) -> Tensor:
        return self.visual.ln_pre(h)


def _pool_of(pool: Any) -> AttentionPool | None:
    if pool is None:
        return None
    return SlotPool(pool) if isinstance(pool, RegionSlots) else ContrastiveQuery(pool)


class OpenClipTextTower(TextTower):
    """Text tower of open_clip's CLIP, or its TextTransformer (CustomTextCLIP, CoCa, MobileCLIP).

    Raises:
        MissingHook: no pooling.
    """

    def __init__(self, text: Any, name: str) -> None:
        self.text = text
        self.cls = getattr(text, "cls_emb", None)
        kind = text.text_pool_type if hasattr(text, "text_pool_type") else text.pool_type
        if kind == "none":
            raise MissingHook(f"The text tower of {name} does not pool: use a backbone with a pooled text tower.")
        hides = getattr(text, "use_pad_mask", False) or self.cls is not None
        width = text.token_embedding.embedding_dim
        super().__init__(
            name,
            residual_blocks(name, text.transformer),
            width,
            attending_blocks(text.transformer)[0].attn.num_heads,
            token_norm=text.ln_final,
            pooled_norm=nn.Identity(),
            head=self._head,
            pooling="last" if self.cls is not None else kind,
            causal=text.attn_mask is not None,
            context=len(text.positional_embedding),
            padding=text.pad_id if hides else None,
            eos=getattr(text, "text_eos_id", getattr(text, "eos_id", None)),
        )

    @property
    def token_table(self) -> Tensor:
        """(V, C) raw token embeddings."""
        return self.text.token_embedding.weight

    def embed(self, ids: Tensor, /) -> Tensor:
        """Return (B, T, C) raw token embeddings."""
        tokens: Tensor = self.text.token_embedding(ids)
        return tokens.to(self.text.transformer.get_cast_dtype())

    def _opened(self, h: Tensor, valid: Tensor | None, pool: Tensor) -> State:
        if self.cls is None:
            return super()._opened(h, valid, pool)
        h = torch.cat([h, self.cls.to(h.dtype).expand(len(h), 1, -1)], dim=1)
        if valid is not None:
            # The released CoCa weights were trained with the mask one place off; the library keeps both, so do we.
            of_cls = valid.new_ones(len(valid), 1)
            valid = torch.cat([valid, of_cls] if self.text.correct_cls_mask else [of_cls, valid], dim=1)
        bias = attention_bias(valid, self.causal, h.shape[1], h)
        return State(
            h, bias=bias, pool=F.one_hot(pool.new_full((len(h),), h.shape[1] - 1).long(), h.shape[1]).to(h.dtype)
        )

    def _positioned(self, s: State) -> Tensor:
        table: Tensor = self.text.positional_embedding
        return s.h + table[: s.h.shape[1]].to(s.h.dtype)

    def _head(self, h: Tensor) -> Tensor:
        projection = self.text.text_projection
        if projection is None:
            return h
        return projection(h) if isinstance(projection, nn.Module) else h @ projection
