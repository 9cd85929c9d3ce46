"""Towers of post-norm text encoders of transformers: BERT (MiniLM), RoBERTa, XLM-R, CamemBERT, AltCLIP's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from diptych.backbones.towers.cut import Look, Mix, merge_heads, split_heads
from diptych.backbones.towers.text import TextTower
from diptych.core import MissingHook

if TYPE_CHECKING:
    from torch import Tensor

    from diptych.core import State


@dataclass(frozen=True)
class PostNormLayer:
    """BertLayer and its twins: the residual is normed after attention and after the MLP."""

    module: Any

    def attend(self, h: Tensor, mix: Mix, /) -> Tensor:
        """Return the attention branch."""
        attention = self.module.attention
        heads, output = attention.self, attention.output
        q, k, v = (split_heads(proj(h), heads.num_attention_heads) for proj in (heads.query, heads.key, heads.value))
        return output.dropout(output.dense(merge_heads(mix(q, k, v))))

    def rest(self, h: Tensor, attended: Tensor, look: Look | None, /) -> Tensor:
        """Return the block's output."""
        x = self.module.attention.output.LayerNorm(attended + h)
        if look is not None:
            look(x)
        return self.module.output(self.module.intermediate(x), x)


class BertTower(TextTower):
    """A BERT-like encoder.

    Args:
        model: BertModel, RobertaModel, XLMRobertaModel, CamembertModel or AltRobertaModel.
        pooling: "mean" of the real tokens, or "cls".
        head: what follows the pooled vector; None: nothing.
        pooler: the model's dense + tanh over the pooled vector, where the checkpoint uses it; None: not used.
        norm: norm of all tokens before pooling (AltCLIP); None: there is none.

    Raises:
        MissingHook: a decoder.
    """

    def __init__(
        self,
        model: Any,
        pooling: Literal["mean", "cls"],
        head: nn.Module | None,
        pooler: Any | None,
        name: str,
        *,
        norm: nn.Module | None = None,
    ) -> None:
        self.model, config = model, model.config
        if getattr(config, "is_decoder", False):
            raise MissingHook(f"The text model of {name} is a decoder: use an encoder checkpoint.")
        # RoBERTa counts positions from the padding id + 1, over real tokens only; BERT from 0, over all.
        self.offset: int | None = getattr(model.embeddings, "padding_idx", None)
        super().__init__(
            name,
            [PostNormLayer(b) for b in getattr(model.encoder, "layer", None) or model.encoder.layers],
            config.hidden_size,
            config.num_attention_heads,
            token_norm=nn.Identity() if norm is None else norm,
            pooled_norm=nn.Identity() if pooler is None else nn.Sequential(pooler.dense, pooler.activation),
            head=nn.Identity() if head is None else head,
            pooling="mean" if pooling == "mean" else "first",
            causal=False,
            context=config.max_position_embeddings - (0 if self.offset is None else self.offset + 1),
            padding=config.pad_token_id,
        )

    @property
    def token_table(self) -> Tensor:
        """(V, C) raw token embeddings."""
        return self.model.embeddings.word_embeddings.weight

    def embed(self, ids: Tensor, /) -> Tensor:
        """Return (B, T, C) raw token embeddings."""
        return self.model.embeddings.word_embeddings(ids)

    def _positioned(self, s: State) -> Tensor:
        embeddings, length = self.model.embeddings, s.h.shape[1]
        if self.offset is None:
            positions = torch.arange(length, device=s.h.device)[None]
        else:
            real = torch.ones(1, length, dtype=torch.long, device=s.h.device)
            if s.bias is not None:
                real = torch.isfinite(s.bias.diagonal(dim1=-2, dim2=-1)[:, 0]).long()
            positions = real.cumsum(1) * real + self.offset
        return s.h + embeddings.token_type_embeddings.weight[0] + embeddings.position_embeddings(positions)

    def _ready(self, h: Tensor) -> Tensor:
        return self.model.embeddings.dropout(self.model.embeddings.LayerNorm(h))
