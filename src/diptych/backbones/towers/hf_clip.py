"""Towers of transformers' CLIP, MetaCLIP 2 and SigLIP, image and text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from diptych.backbones.towers.cut import Look, Mix, merge_heads, split_heads
from diptych.backbones.towers.image import ImageTower
from diptych.backbones.towers.pools import ProbePool
from diptych.backbones.towers.text import TextPooling, TextTower
from diptych.core import MissingHook

if TYPE_CHECKING:
    from torch import Tensor

    from diptych.core import State


@dataclass(frozen=True)
class EncoderLayer:
    """CLIPEncoderLayer and its twins: pre-norm, separate q, k, v."""

    module: Any

    def attend(self, h: Tensor, mix: Mix, /) -> Tensor:
        """Return the attention branch."""
        attn, x = self.module.self_attn, self.module.layer_norm1(h)
        q, k, v = (split_heads(proj(x), attn.num_heads) for proj in (attn.q_proj, attn.k_proj, attn.v_proj))
        return attn.out_proj(merge_heads(mix(q, k, v)))

    def rest(self, h: Tensor, attended: Tensor, look: Look | None, /) -> Tensor:
        """Return the block's output."""
        h = h + attended
        x = self.module.layer_norm2(h)
        if look is not None:
            look(x)
        return h + self.module.mlp(x)


class HFImageTower(ImageTower):
    """The vision model of a CLIPModel, MetaClip2Model or SiglipModel.

    Args:
        vision: ``model.vision_model``.
        projection: ``model.visual_projection``; None (SigLIP): the pooled vector is the embedding.

    Raises:
        MissingHook: a SigLIP without its pooling head.
    """

    def __init__(self, vision: Any, projection: nn.Module | None, name: str) -> None:
        self.vision, config = vision, vision.config
        siglip = not hasattr(vision.embeddings, "class_embedding")
        if siglip and not hasattr(vision, "head"):
            raise MissingHook(
                f"{name} has no pooling head, so no image vector: use a SigLIP checkpoint with vision_use_head."
            )
        super().__init__(
            name,
            [EncoderLayer(b) for b in vision.encoder.layers],
            config.hidden_size,
            config.num_attention_heads,
            token_norm=vision.post_layernorm,
            pooled_norm=nn.Identity(),
            head=nn.Identity() if projection is None else projection,
            patch=(config.patch_size, config.patch_size),
            pooling="attention" if siglip else "cls",
            pool=ProbePool(vision.head) if siglip else None,
        )

    @property
    def patch_layer(self) -> nn.Module:
        """The patch embedding."""
        return self.vision.embeddings.patch_embedding

    def _patches(self, pixels: Tensor) -> Tensor:
        return self.vision.embeddings.patch_embedding(pixels)

    def prefix(self) -> Tensor | None:
        """Return CLS (1, C); None for SigLIP."""
        cls: Tensor | None = getattr(self.vision.embeddings, "class_embedding", None)
        return None if cls is None else cls[None]

    def _positions(self) -> tuple[Tensor | None, Tensor | None, tuple[int, int]]:
        table, count = (
            self.vision.embeddings.position_embedding.weight,
            int(hasattr(self.vision.embeddings, "class_embedding")),
        )
        side = self.vision.config.image_size // self.vision.config.patch_size
        return table[:count] if count else None, table[count:], (side, side)

    def _ready(self, h: Tensor) -> Tensor:
        if not hasattr(self.vision, "pre_layrnorm"):
            return h
        return self.vision.pre_layrnorm(h)


class HFTextTower(TextTower):
    """The text model of a CLIPModel, MetaClip2Model, SiglipModel or Siglip2Model.

    Args:
        text: ``model.text_model``.
        projection: ``model.text_projection``; None: the model's own ``head`` (SigLIP).
    """

    def __init__(self, text: Any, projection: nn.Module | None, name: str) -> None:
        self.text, config = text, text.config
        # transformers reads end id 2 of old CLIP configs as "the largest id"; MetaCLIP 2 means it
        ended: TextPooling = "argmax" if config.eos_token_id == 2 and config.model_type.startswith("clip") else "eos"
        super().__init__(
            name,
            [EncoderLayer(b) for b in text.encoder.layers],
            config.hidden_size,
            config.num_attention_heads,
            token_norm=text.final_layer_norm,
            pooled_norm=nn.Identity(),
            head=text.head if projection is None else projection,
            pooling="last" if projection is None else ended,
            causal=projection is not None,
            context=config.max_position_embeddings,
            eos=config.eos_token_id,
        )

    @property
    def token_table(self) -> Tensor:
        """(V, C) raw token embeddings."""
        return self.text.embeddings.token_embedding.weight

    def embed(self, ids: Tensor, /) -> Tensor:
        """Return (B, T, C) raw token embeddings."""
        return self.text.embeddings.token_embedding(ids)

    def _positioned(self, s: State) -> Tensor:
        table: Tensor = self.text.embeddings.position_embedding.weight
        return s.h + table[: s.h.shape[1]].to(s.h.dtype)
