"""A small transformer that finds the picture in its noise, from patches and from the tokens of a text.

    h = patches(z) + positions
    each block, with shifts b, scales g and gates a of the step t:
        h = h + conv(h)                                                 3 x 3 on the grid of patches, each channel apart
        h = h + a_1 selfattention(g_1 norm(h) + b_1)
        h = h + crossattention(norm(h), tokens)
        h = h + a_2 mlp(g_2 norm(h) + b_2)
    f = unpatch(linear(g_3 norm(h) + b_3))

What the network says, f, becomes a picture and the noise so:

    z   = sqrt(a_t) x + sqrt(1 - a_t) eps,   s_t = sqrt((1 - a_t) / a_t)
    k   = d^2 / (s_t^2 + d^2)
    x'  = k z / sqrt(a_t) + sqrt(1 - k) f
    eps = (z / sqrt(a_t) - x') / s_t

x: the picture, in [-1, 1];  x': its estimate without noise;  eps: the noise
a_t: share of signal at step t;  s_t: noise over signal
k: how much of what is seen is kept; where noise is stronger than d, f is the picture itself, where it is weaker, f is
the noise times -d
d: 0.15

With d = 1 this is the usual prediction of v. A small d asks the network for pictures, which are simple, at nearly all
steps, and only at the last for noise, which is not.

The layout is that of PixArt: one small network maps t to the modulation of all blocks, to which each block adds its own
constants. The convolution mixes neighbours from the first step on, before attention has learnt where they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, scaled_dot_product_attention, silu

from diptych.core import AttentionHook, Site
from diptych.core.diffusion import Widened


@dataclass(frozen=True)
class DenoiserLayout:
    """Sizes of a denoiser.

    Args:
        size: side of the pictures in pixels, a multiple of ``patch``.
        width: C of the patch tokens, a multiple of ``heads``.
        text: width of the condition's tokens.
        mlp: width of the MLP, in C.
    """

    size: int = 32
    patch: int = 4
    width: int = 128
    depth: int = 4
    heads: int = 4
    text: int = 128
    mlp: int = 4

    @property
    def grid(self) -> int:
        """Patches a side."""
        return self.size // self.patch

    def as_dict(self) -> dict[str, int]:
        """Return plain data for a file."""
        return asdict(self)

    @classmethod
    def of(cls, facts: Mapping[str, str]) -> DenoiserLayout:
        """Read what ``as_dict`` gave, as text."""
        return cls(**{name: int(value) for name, value in facts.items()})


KEPT = 0.15
"""d, see above."""


def share_kept(a: Tensor) -> Tensor:
    """Return k of shares of signal a_t in (0, 1], of the same size."""
    return KEPT**2 / ((1 - a) / a + KEPT**2)


def denoised(f: Tensor, z: Tensor, a: Tensor) -> Tensor:
    """Return x', the picture: what the network says of noisy pictures z at shares of signal a, of one size."""
    k = share_kept(a)
    return k * z / a.sqrt() + (1 - k).sqrt() * f


def wanted(x: Tensor, z: Tensor, a: Tensor) -> Tensor:
    """Return the f from which ``denoised`` gives x."""
    k = share_kept(a)
    return (x - k * z / a.sqrt()) / (1 - k).sqrt()


def noise_in(f: Tensor, z: Tensor, a: Tensor) -> Tensor:
    """Return eps of what the network says."""
    k, sigma = share_kept(a), ((1 - a) / a).sqrt()
    return ((1 - k) * z / a.sqrt() - (1 - k).sqrt() * f) / sigma


def step_waves(t: Tensor, width: int) -> Tensor:
    """Return (B, width) sines and cosines of (B,) steps, of wavelengths from 2 pi to 20,000 pi steps."""
    waves = torch.exp(-math.log(10000) * torch.arange(width // 2, device=t.device) / (width // 2))
    angles = t.float()[:, None] * waves
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def grid_waves(side: int, width: int) -> Tensor:
    """Return (side^2, width) sines and cosines of cells' rows and columns, of wavelengths from 2 cells to 8 sides."""
    quarter = width // 4
    waves = math.pi * torch.logspace(0, -math.log2(4 * side), quarter, base=2)
    row, column = (t.reshape(-1, 1) * waves for t in torch.meshgrid(*[torch.arange(side).float()] * 2, indexing="ij"))
    out = torch.cat([row.sin(), row.cos(), column.sin(), column.cos()], dim=1)
    return torch.nn.functional.pad(out, (0, width - 4 * quarter))


class Attention(nn.Module):
    """Multi-head attention whose probabilities a hook can see and replace.

    Args:
        width: C of the queries.
        keys: width of what is attended to.
    """

    def __init__(self, width: int, keys: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.kv, self.out = nn.Linear(width, width), nn.Linear(keys, 2 * width), nn.Linear(width, width)

    def forward(
        self, h: Tensor, seen: Tensor, mask: Tensor | None, site: Site, hook: AttentionHook | None = None
    ) -> Tensor:
        """Return (B, Q, C) of (B, Q, C) queries over (B, K, keys) tokens; ``mask`` (B, K) is True where one counts."""
        seen = Widened.read(hook, site, seen)
        q = self.q(h).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(seen).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        shown = None if mask is None else mask[:, None, None]
        if hook is None:
            mixed = scaled_dot_product_attention(q, k, v, attn_mask=shown)
        else:
            scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
            if shown is not None:
                scores = scores.masked_fill(~shown, -math.inf)
            probabilities = scores.softmax(-1)
            replaced = hook(site, probabilities)
            mixed = (probabilities if replaced is None else replaced.to(probabilities)) @ v
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Self-attention, cross-attention and MLP."""

    def __init__(self, layout: DenoiserLayout, number: int) -> None:
        super().__init__()
        c = layout.width
        self.sites = Site("self", "mid", number), Site("cross", "mid", number)
        self.own = nn.Parameter(torch.zeros(6, c))
        self.near = nn.Conv2d(c, c, 3, padding=1, groups=c)
        self.self_attention = Attention(c, c, layout.heads)
        self.cross_attention = Attention(c, layout.text, layout.heads)
        self.cross_norm = nn.LayerNorm(c)
        self.up, self.down = nn.Linear(c, layout.mlp * c), nn.Linear(layout.mlp * c, c)
        with torch.no_grad():
            self.own[[2, 5]] = 1.0  # the gates are open
            for last in (self.self_attention.out, self.cross_attention.out, self.down):
                last.weight *= (3 * layout.depth) ** -0.5

    def forward(
        self, h: Tensor, steps: Tensor, tokens: Tensor, mask: Tensor | None, hook: AttentionHook | None
    ) -> Tensor:
        """Return (B, P, C); ``steps`` is the (B, 6, C) modulation of the step."""
        b1, g1, a1, b2, g2, a2 = (steps + self.own)[:, :, None].unbind(1)
        side = math.isqrt(h.shape[1])
        grid = h.transpose(1, 2).reshape(len(h), -1, side, side)
        h = h + self.near(grid).flatten(2).transpose(1, 2)
        n = _norm(h) * (1 + g1) + b1
        h = h + a1 * self.self_attention(n, n, None, self.sites[0], hook)
        h = h + self.cross_attention(self.cross_norm(h), tokens, mask, self.sites[1], hook)
        return h + a2 * self.down(gelu(self.up(_norm(h) * (1 + g2) + b2), approximate="tanh"))


class PatchDenoiser(nn.Module):
    """The network; see the head of this file."""

    def __init__(self, layout: DenoiserLayout) -> None:
        super().__init__()
        self.layout, c = layout, layout.width
        values = 3 * layout.patch**2
        self.stem = nn.Linear(values, c)
        self.positions = nn.Parameter(grid_waves(layout.grid, c))
        self.step_in, self.step_out = nn.Linear(c, c), nn.Linear(c, 6 * c)
        self.text_norm = nn.LayerNorm(layout.text)
        blocks = [Block(layout, i) for i in range(layout.depth)]
        self.blocks = nn.ModuleList(blocks)
        self.last_own = nn.Parameter(torch.zeros(2, c))
        self.last_step = nn.Linear(c, 2 * c)
        self.head = nn.Linear(c, values)
        for silent in (self.step_out, self.last_step, self.head):
            nn.init.zeros_(silent.weight)

    def forward(
        self, z: Tensor, t: Tensor, tokens: Tensor, mask: Tensor | None = None, hook: AttentionHook | None = None
    ) -> Tensor:
        """Return f, (B, 3, size, size).

        Args:
            z: (B, 3, size, size) noisy pictures; pictures lie in [-1, 1].
            t: (B,) steps.
            tokens: (B, L, text) of the condition.
            mask: (B, L) bool, True where a token is attended to; None: all.
            hook: sees and replaces attention.
        """
        side, p = self.layout.grid, self.layout.patch
        cells = z.reshape(-1, 3, side, p, side, p).permute(0, 2, 4, 1, 3, 5)
        h = self.stem(cells.reshape(len(z), side * side, -1)) + self.positions
        step = silu(self.step_in(step_waves(t, self.layout.width)))
        every, last = (f(step).reshape(len(z), n, -1) for f, n in ((self.step_out, 6), (self.last_step, 2)))
        tokens = self.text_norm(tokens)
        for block in self.blocks:
            h = block(h, every, tokens, mask, hook)
        shift, scale = (last + self.last_own)[:, :, None].unbind(1)
        out: Tensor = self.head(_norm(h) * (1 + scale) + shift)
        return out.reshape(-1, side, side, 3, p, p).permute(0, 3, 1, 4, 2, 5).reshape(z.shape)


def _norm(h: Tensor) -> Tensor:
    return layer_norm(h, h.shape[-1:])
