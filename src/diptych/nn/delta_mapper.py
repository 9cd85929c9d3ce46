"""DeltaEdit's mapper: from a style, an image vector and the direction in which the vector shall change to a change of
the style.

norm(x)  = x / sqrt(mean(x^2) + 1e-8)
layer(x) = lrelu(x (0.01 W / sqrt I)^T + 0.01 b, 0.2) sqrt 2             W starts as 100 times a standard normal, b as 0
level    = four layers([four layers(norm(s)) ; four layers(norm(c))])    c = [i ; direction], shared by the
                                                                         layers of a level
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, linear

Norm = Literal["reference", "channels"]
MULTIPLIER = 0.01


def levels_of(channels: Sequence[int], first: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return (start, layers, width) of each level: ``first`` style layers each, then one flat level of all that is
    left.

    A level whose layers have unlike widths is flat too: one layer as wide as their sum. Levels without layers are left
    out.

    Args:
        channels: style channels a layer.
        first: layers of the coarse and of the medium level, (3, 4) in the paper; the fine level is always flat.
    """
    out, layer, start = [], 0, 0
    for count in (*first, None):
        own = list(channels[layer:] if count is None else channels[layer : layer + count])
        apart = count is not None and len(set(own)) == 1
        if own:
            out.append((start, len(own) if apart else 1, own[0] if apart else sum(own)))
        layer, start = layer + len(own), start + sum(own)
    return out


def pixel_norm(x: Tensor, norm: Norm) -> Tensor:
    """Return x over the root of its mean square: over axis 1 as the authors' code does, or over the channels.

    Args:
        x: (B, n, C) or (B, C).
        norm: "reference" goes over the n layers of a level whose layers are apart, "channels" over C.
    """
    over = 1 if norm == "reference" else -1
    return x * torch.rsqrt(x.square().mean(over, keepdim=True) + 1e-8)


class EqualLayer(nn.Module):
    """A linear layer with equalised learning rate and a leaky ReLU; fresh weights come from torch's global generator.

    Args:
        into: I.
        out: O.
    """

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, into) / MULTIPLIER)
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., O)."""
        scaled = linear(x, self.weight * (MULTIPLIER / math.sqrt(self.weight.shape[1])), self.bias * MULTIPLIER)
        return leaky_relu(scaled, 0.2) * math.sqrt(2)


def _stack(into: int, inner: int, out: int) -> nn.Sequential:
    widths = (into, inner, inner, inner, out)
    return nn.Sequential(*(EqualLayer(a, b) for a, b in pairwise(widths)))


class DeltaMapper(nn.Module):
    """The mapper of all levels.

    Args:
        channels: style channels a layer.
        dim: D.
        first: see ``levels_of``.
        width: of the inner layers; None: that of the level, as in the paper.
        norm: see ``pixel_norm``.
    """

    def __init__(
        self,
        channels: Sequence[int],
        dim: int,
        first: Sequence[int] = (3, 4),
        width: int | None = None,
        norm: Norm = "reference",
    ) -> None:
        super().__init__()
        self.places, self.norm = levels_of(channels, first), norm
        self.style, self.condition, self.fusion = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for _, _, own in self.places:
            inner = width or own
            self.style.append(_stack(own, inner, inner))
            self.condition.append(_stack(2 * dim, inner, inner))
            self.fusion.append(_stack(2 * inner, inner, own))

    def forward(self, s: Tensor, i: Tensor, direction: Tensor) -> Tensor:
        """Return the (B, S) change of (B, S) styles, for (B, D) image vectors and (B, D) directions."""
        c, out = pixel_norm(torch.cat([i, direction], dim=1), self.norm), []
        for place, style, condition, fusion in zip(self.places, self.style, self.condition, self.fusion, strict=True):
            start, layers, width = place
            own = s[:, start : start + layers * width]
            if layers > 1:
                own = own.unflatten(1, (layers, width))  # type: ignore[no-untyped-call]
            wanted = condition(c)
            if layers > 1:
                wanted = wanted[:, None].expand(-1, layers, -1)
            out.append(fusion(torch.cat([style(pixel_norm(own, self.norm)), wanted], dim=-1)).flatten(1))
        return torch.cat(out, dim=1)
