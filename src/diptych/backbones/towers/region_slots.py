"""Region slots: a small decoder on the tokens of an image tower, with one slot for the image and Q for its regions.

    m   = LN(norm(X) P)
    h_0 = 0;  h_i = layer_i(h_(i-1), m):  self-attention, attention to m, MLP, each after a LayerNorm and added
    h   = LN(h_N)
    v   = h[0] V          r_q = h[q] R          b_q = sigmoid(MLP(h[q]))

X: (T, C) tokens after the last block, norm: the tower's own
h: (1 + Q, d) slots, of which the first is the image; each has a learnt code, which is added to queries and keys of the
    self-attention and to the queries of the attention to m, not to values
v: (D,) image embedding, V is the tower's projection;  r_q: (D,) embedding of a region;  b_q: its box, centre and size
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.core import MissingHook


class SlotLayer(nn.Module):
    """One pre-norm layer of the decoder.

    Args:
        width: d.
        heads: of both attentions.
        hidden: width of the MLP.
        dropout: in [0, 1).
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.own, self.other = (
            nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True) for _ in range(2)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.up, self.down, self.dropout = nn.Linear(width, hidden), nn.Linear(hidden, width), nn.Dropout(dropout)

    def forward(self, h: Tensor, codes: Tensor, memory: Tensor) -> Tensor:
        """Return the (B, 1 + Q, d) slots after the layer."""
        n = self.norms[0](h)
        h = h + self.dropout(self.own(n + codes, n + codes, n, need_weights=False)[0])
        n = self.norms[1](h)
        h = h + self.dropout(self.other(n + codes, memory, memory, need_weights=False)[0])
        return h + self.dropout(self.down(self.dropout(F.relu(self.up(self.norms[2](h))))))


class RegionSlots(nn.Module):
    """The decoder; see the head of this file. It takes the place of an attention pool.

    Args:
        norm: the tower's own, before its projection.
        tokens: C.
        width: d, which ``heads`` divides.
        dim: D.
        regions: Q, >= 1.
        depth: layers, >= 1.
        heads: of each attention.
        hidden: width of the MLPs.
        dropout: in [0, 1).
    """

    def __init__(
        self,
        norm: nn.Module,
        *,
        tokens: int,
        width: int,
        dim: int,
        regions: int,
        depth: int,
        heads: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.norm, self.read = norm, nn.Linear(tokens, width, bias=False)
        self.read_norm = nn.LayerNorm(width)
        self.codes = nn.Parameter(torch.randn(1 + regions, width))
        self.layers = nn.ModuleList(SlotLayer(width, heads, hidden, dropout) for _ in range(depth))
        self.region = nn.Parameter(width**-0.5 * torch.randn(width, dim))
        self.box = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 1 + Q, d) slots of (B, T, C) tokens, before the last norm; the first is the image."""
        memory = self.read_norm(self.read(self.norm(x)))
        h = torch.zeros_like(self.codes).expand(len(x), -1, -1)
        for layer in self.layers:
            h = layer(h, self.codes, memory)
        return h

    def regions(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, Q, D) embeddings, not normalised, and (B, Q, 4) boxes, centre x y and width height in [0, 1].

        Args:
            h: (B, 1 + Q, d) slots after the last norm.
        """
        slots = h[:, 1:]
        return slots @ self.region, self.box(slots).sigmoid()


class SlotPool:
    """The image slot as the attention pool of a cut tower."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __call__(self, x: Tensor, weights: Tensor | None = None, /) -> Tensor:
        """Return the (B, 1, d) image slot.

        Raises:
            MissingHook: weights are given: the slots look at whole pictures.
        """
        if weights is not None:
            raise MissingHook("Region slots look at whole pictures, not at parts of them: read the slots themselves.")
        return self.module(x)[:, :1]
