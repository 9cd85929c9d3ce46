"""Attention pools: one query gathers a set of tokens. With weights, the same query gathers each of Q regions.

Weights act as a prior on the attention: logits + log(weight / largest weight). A binary mask is thus a key mask, and
equal weights change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.nn import functional as F

from diptych.backbones.towers.cut import merge_heads, split_heads

if TYPE_CHECKING:
    from torch import Tensor


class AttentionPool(Protocol):
    """Pools (B, n, C) tokens; a region without weight gathers zeros."""

    def __call__(self, x: Tensor, weights: Tensor | None = None, /) -> Tensor:
        """Return (B, 1, C), or with (B, Q, n) weights (B, Q, C)."""


def log_weights(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (B, Q, n) finite logs of the weights over their largest, and (B, Q, 1) whether a region is empty."""
    largest = weights.amax(-1, keepdim=True)
    empty = largest == 0
    return (torch.where(empty, 1.0, weights) / torch.where(empty, 1.0, largest)).clamp_min(
        torch.finfo(weights.dtype).tiny
    ).log(), empty


def gather(q: Tensor, k: Tensor, v: Tensor, weights: Tensor | None) -> Tensor:
    """Attend from one query to n keys, once per region.

    Args:
        q: (B or 1, heads, 1, d).
        k: (B, heads, n, d).
        v: (B, heads, n, d).
        weights: (B, Q, n), not negative; None: one region of all keys.

    Returns:
        (B, Q, heads * d).
    """
    logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if weights is None:
        return merge_heads(logits.softmax(-1) @ v)
    logs, empty = log_weights(weights.to(logits.dtype))
    return merge_heads((logits + logs[:, None]).softmax(-1) @ v).masked_fill(empty, 0.0)


@dataclass(frozen=True)
class LatentPool:
    """timm's AttentionPoolLatent with one latent (SigLIP and PE towers)."""

    module: Any

    def __call__(self, x: Tensor, weights: Tensor | None = None, /) -> Tensor:
        """Pool; see ``AttentionPool``."""
        m = self.module
        q = m.q_norm(split_heads(m.q(m.latent), m.num_heads))
        k, v = (split_heads(t, m.num_heads) for t in m.kv(x if m.pos_embed is None else x + m.pos_embed).chunk(2, -1))
        pooled: Tensor = m.proj_drop(m.proj(gather(q, m.k_norm(k), v, weights)))
        return pooled if m.mlp is None else pooled + m.mlp(m.norm(pooled))


@dataclass(frozen=True)
class ProbePool:
    """transformers' SigLIP pooling head."""

    module: Any

    def __call__(self, x: Tensor, weights: Tensor | None = None, /) -> Tensor:
        """Pool; see ``AttentionPool``."""
        m = self.module
        pooled = _multihead(m.attention, m.probe, x, weights)
        return pooled + m.mlp(m.layernorm(pooled))


@dataclass(frozen=True)
class ContrastiveQuery:
    """open_clip's AttentionalPooler, whose first query is the image vector (CoCa)."""

    module: Any

    def __call__(self, x: Tensor, weights: Tensor | None = None, /) -> Tensor:
        """Pool; see ``AttentionPool``."""
        m = self.module
        return _multihead(m.attn, m.ln_q(m.query[None, :1]), m.ln_k(x), weights)


def _multihead(attn: Any, query: Tensor, x: Tensor, weights: Tensor | None) -> Tensor:
    """Run torch's MultiheadAttention from one (1, 1, C) query to (B, n, C') tokens."""
    if attn.in_proj_weight is not None:
        wq, wk, wv = attn.in_proj_weight.chunk(3)
    else:
        wq, wk, wv = attn.q_proj_weight, attn.k_proj_weight, attn.v_proj_weight
    bq, bk, bv = attn.in_proj_bias.chunk(3)
    q, k, v = (split_heads(F.linear(*t), attn.num_heads) for t in ((query, wq, bq), (x, wk, bk), (x, wv, bv)))
    return attn.out_proj(gather(q, k, v, weights))
