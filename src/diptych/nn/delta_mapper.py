"""DeltaEdit's mapper returns the change of a style by which the picture's vector moves in a wanted direction.

    norm(x)  = x / sqrt(mean(x^2) + 1e-8)
    layer(x) = lrelu(x (0.01 W / sqrt I)^T + 0.01 b, 0.2) sqrt 2
    level    = four layers([ four layers(norm(s)) ; four layers(norm(c)) ]),    c = [i ; direction]

W, b: (O, I) and (O,) of a layer; W starts as 100 times a standard normal, b as 0
s: style channels of the level, (B, layers, width)
i, direction: (B, D) image vector and the wanted direction; c is shared by the layers of a level
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, leaky_relu, linear, mse_loss, normalize

from diptych.core import Row

Norm = Literal["reference", "channels"]
"""Over which axis a style is normalised; see ``pixel_norm``."""
MULTIPLIER = 0.01
"""Factor of the learning rate of a layer: weights are stored 100 times larger than they act."""


def levels_of(channels: Sequence[int], first: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return (start, layers, width) of each level of style layers.

    The first levels have ``first`` style layers each; all other layers are one last, flat level. A level whose layers
    have different widths is flat too: one layer as wide as their sum. Levels without layers are left out.

    Args:
        channels: style channels of each layer.
        first: layers of the coarse and of the medium level, (3, 4) in the paper; the fine level is always flat.

    Example:
        >>> levels_of([8, 8, 8, 8, 4], first=(2, 2))
        [(0, 2, 8), (16, 2, 8), (32, 1, 4)]
    """
    out, layer, start = [], 0, 0
    for count in (*first, None):
        widths = list(channels[layer:] if count is None else channels[layer : layer + count])
        apart = count is not None and len(set(widths)) == 1
        if widths:
            out.append((start, len(widths) if apart else 1, widths[0] if apart else sum(widths)))
        layer, start = layer + len(widths), start + sum(widths)
    return out


def pixel_norm(x: Tensor, norm: Norm) -> Tensor:
    """Return x over the root of its mean square.

    Args:
        x: (B, n, C) or (B, C).
        norm: "reference", as in the authors' code, means over axis 1: the n layers of a level, or C where there are no
            layers. "channels" means over C.
    """
    over = 1 if norm == "reference" else -1
    return x * torch.rsqrt(x.square().mean(over, keepdim=True) + 1e-8)


class EqualLayer(nn.Module):
    """A linear layer with equalised learning rate and a leaky ReLU. Its weights start from torch's global generator.

    Args:
        into: I, inputs.
        out: O, outputs.
    """

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, into) / MULTIPLIER)
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., O) of (..., I)."""
        scaled = linear(x, self.weight * (MULTIPLIER / math.sqrt(self.weight.shape[1])), self.bias * MULTIPLIER)
        return leaky_relu(scaled, 0.2) * math.sqrt(2)


def _stack(into: int, inner: int, out: int) -> nn.Sequential:
    widths = (into, inner, inner, inner, out)
    return nn.Sequential(*(EqualLayer(a, b) for a, b in pairwise(widths)))


class DeltaMapper(nn.Module):
    """The mapper of all levels.

    Args:
        channels: style channels of each layer.
        dim: D.
        first: see ``levels_of``.
        width: of the inner layers. None: that of the level, as in the paper.
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
        self.levels, self.norm = levels_of(channels, first), norm
        self.style, self.condition, self.fusion = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for _, _, level_width in self.levels:
            inner = width or level_width
            self.style.append(_stack(level_width, inner, inner))
            self.condition.append(_stack(2 * dim, inner, inner))
            self.fusion.append(_stack(2 * inner, inner, level_width))

    def forward(self, s: Tensor, i: Tensor, direction: Tensor) -> Tensor:
        """Return the (B, S) change of (B, S) styles, for (B, D) image vectors and (B, D) directions."""
        c, out = pixel_norm(torch.cat([i, direction], dim=1), self.norm), []
        for level, style, condition, fusion in zip(self.levels, self.style, self.condition, self.fusion, strict=True):
            start, layers, width = level
            part = s[:, start : start + layers * width]
            if layers > 1:
                part = torch.unflatten(part, 1, (layers, width))
            wanted = condition(c)
            if layers > 1:
                wanted = wanted[:, None].expand(-1, layers, -1)
            out.append(fusion(torch.cat([style(pixel_norm(part, self.norm)), wanted], dim=-1)).flatten(1))
        return torch.cat(out, dim=1)


FLOOR = 1e-5
"""Least length by which a difference of vectors is divided."""


def direction(first: Tensor, second: Tensor) -> Tensor:
    """Return normalise(second - first), (..., D); a difference shorter than 1e-5 is divided by 1e-5."""
    return normalize(second - first, dim=-1, eps=FLOOR)


def movable(relevance: Tensor, d: Tensor, beta: float) -> Tensor:
    """Return the mask, (S,) or (B, S), of the channels that an edit may move: |F d| >= beta and d not 0.

    Args:
        relevance: F, (S, D).
        d: (D,) or (B, D) differences of two unit text vectors, not normalised.
        beta: threshold, >= 0. Above 2, the greatest length of d, no channel passes.
    """
    return ((d @ relevance.T).abs() >= beta) & (d != 0).any(-1, keepdim=True)


def terms(predicted: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """Return the two terms of the loss: "squared", the mean squared error, and "cosine", the mean of 1 - cosine.

    Args:
        predicted: (B, S) changes of styles by the mapper.
        wanted: (B, S) changes between the two pictures.
    """
    return {"squared": mse_loss(predicted, wanted), "cosine": (1 - cosine_similarity(predicted, wanted, dim=1)).mean()}


def another(row: Row, g: torch.Generator, count: int) -> dict[str, int]:
    """Return the numbers of two different pictures of the bank: "first" is the row's, "second" is drawn.

    Args:
        row: of the bank.
        g: draws the second.
        count: number of pictures in the bank.
    """
    shift = int(torch.randint(1, count, (), generator=g))
    return {"first": row.index, "second": (row.index + shift) % count}
