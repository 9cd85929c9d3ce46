"""Attention kernels: functions (i, q, k, v, bias) -> mixed values, for ``Tower.attend`` and
``Tower.blocks``.

q, k, v are (B, heads, T, d), already normed and rotated by the tower; bias is (B or 1, 1 or heads, T, T) or None, added
to the logits. Every kernel scales by 1/sqrt(d) itself.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor

    from diptych.core import Kernel


def probabilities(q: Tensor, k: Tensor, bias: Tensor | None) -> Tensor:
    """Return the (B, heads, T, T) attention probabilities softmax(q k^T / sqrt(d) + bias)."""
    logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    return torch.softmax(logits if bias is None else logits + bias.to(logits.dtype), dim=-1)


def fused_attention(i: int, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Attend with torch's fused kernel: the default, fast, its probabilities out of reach."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=None if bias is None else bias.to(q.dtype))


def identity_attention(i: int, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Let every token keep its own value (MaskCLIP's last block)."""
    return v


def value_attention(i: int, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Attend by the likeness of values (V-V attention, AnomalyCLIP)."""
    return probabilities(v, v, bias) @ v


def recording_attention(record: MutableMapping[int, Tensor]) -> Kernel:
    """Make softmax attention that keeps its probabilities in the graph: ``record[i]`` is block i's (B, heads, T, T)."""

    def kernel(i: int, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        record[i] = probabilities(q, k, bias)
        return record[i] @ v

    return kernel


def recording_first(record: MutableMapping[int, Tensor]) -> Kernel:
    """Make the default attention that also notes how the first token attends, without the attention of all others.

    ``record[i]`` is the (B, T) mean over the heads of block i's probabilities in the first row.
    """

    def kernel(i: int, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        record[i] = probabilities(q[:, :, :1], k, None if bias is None else bias[..., :1, :])[:, :, 0].mean(1)
        return fused_attention(i, q, k, v, bias)

    return kernel
