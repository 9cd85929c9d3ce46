"""CLIPInverter's networks: adapters that change feature maps by a text, and the refinement that pulls latents to one.

    h  = groupnorm(conv(c / sqrt(mean over channels of c^2)))
    c' = lrelu(h (1 + exp(g(e))) + b(e))

c: (B, C, h, w) map;  e: (B, D) text vector, not normalised;  conv: 3 x 3, C to C, no bias
g, b: linear, layer norm, leaky ReLU, linear;  (B, D) to (B, C)

    w'' = (1 - 0.9 l) w' + 0.9 l a(e)           for each latent of ``Refinement``

w': latent;  a: three linear layers, (B, D) to (B, S);  l: a trained number a latent, 0.05 at first
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

SLOPE = 0.01
SHARE, FIRST = 0.9, 0.05
"""Largest share of a text's latent at l = 1, and l at first."""
LARGEST = 8.0
"""Largest g(e): exp of more leaves half precision."""


def _mlp(dim: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim), nn.LeakyReLU(SLOPE), nn.Linear(dim, out))


class MapAdapter(nn.Module):
    """Changes one map by a text. Its weights start from torch's global generator.

    Args:
        width: C, channels of the map, a multiple of ``groups``.
        dim: D, width of a text vector.
    """

    def __init__(self, width: int, dim: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(groups, width)
        self.gain, self.shift = _mlp(dim, width), _mlp(dim, width)

    def forward(self, c: Tensor, e: Tensor) -> Tensor:
        """Return (B, C, h, w) of (B, C, h, w) and (B, D)."""
        h = self.norm(self.conv(c * torch.rsqrt(c.square().mean(1, keepdim=True) + 1e-8)))
        gain, shift = self.gain(e).clamp(max=LARGEST).exp(), self.shift(e)
        return leaky_relu(h * (1 + gain)[:, :, None, None] + shift[:, :, None, None], SLOPE)


class MapAdapters(nn.Module):
    """An adapter for each map.

    Args:
        widths: channels of the maps.
        dim: D.
        groups: see ``MapAdapter``.
    """

    def __init__(self, widths: Sequence[int], dim: int, groups: int) -> None:
        super().__init__()
        self.each = nn.ModuleList(MapAdapter(width, dim, groups) for width in widths)

    def forward(self, maps: Sequence[Tensor], e: Tensor) -> tuple[Tensor, ...]:
        """Return the changed maps."""
        return tuple(adapter(c, e) for adapter, c in zip(self.each, maps, strict=True))


class Refinement(nn.Module):
    """Pulls the latents of all convolutions but the first, which are all but the first and the last, towards a text.

    Args:
        latents: number n of w in a w+.
        dim: D.
        width: of the inner layers.
        style_dim: S, width of a w.
    """

    def __init__(self, latents: int, dim: int, width: int, style_dim: int) -> None:
        super().__init__()
        self.each = nn.ModuleList(
            nn.Sequential(
                nn.Linear(dim, width),
                nn.ReLU(),
                nn.Linear(width, width),
                nn.LayerNorm(width),
                nn.ReLU(),
                nn.Linear(width, style_dim),
            )
            for _ in range(latents - 2)
        )
        self.pull = nn.Parameter(torch.full((latents - 2,), FIRST))

    def forward(self, w: Tensor, e: Tensor, strength: float = 1.0) -> Tensor:
        """Return (B, n, S) of (B, n, S) latents and (B, D); l is multiplied by ``strength``."""
        refined = torch.stack([net(e) for net in self.each], dim=1)
        share = (SHARE * strength * self.pull)[:, None]
        return torch.cat([w[:, :1], w[:, 1:-1] + share * (refined - w[:, 1:-1]), w[:, -1:]], dim=1)
