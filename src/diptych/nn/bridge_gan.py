"""A generator and a discriminator of pictures that read words, on maps of a frozen ViT.

    y    = [z ; t]
    A(h) = g(y) h + b(y)                      g, b: two layers each, which begin with g = 1 and b = 0
    F(h) = lrelu A lrelu A (h)                modulation
    b    = conv5( M M M M linear(z) )         M(h) = h + F conv3 F conv3 (h): the bridge
    h    = conv5( b + 0.1 m ),                m: the frozen ViT's map of b, prompted by a linear function of y
    h    = G(up(h)), once for each size       G(h) = skip(h) + conv3 F conv3 F (h)
    x    = conv3( lrelu h )                   in [-1, 1], without a bound

    h    = f_1;  h = h + p_i C(h) + q_i f_(i + 1)  for i = 1, 2         C(h) = lrelu conv3 lrelu conv3 (h)
    h    = skip(h) + p_3 C(h)                                           p, q: scalars that begin at 0
    D    = conv4( lrelu conv4( [h ; t] ) )

z: (Z,) normal noise;  t: (D,) text embedding, not normalised
f_i: (C, g, g) maps of the frozen ViT for a picture, i = 1, 2, 3
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, relu

SLOPE, OF_VIT, LEAST = 0.2, 0.1, 7
"""Slope of leaky ReLU; weight of the frozen ViT's map; cells per side that the discriminator needs."""
Prompted = Callable[[Tensor, Tensor], Tensor]
"""From a bridge (B, C, g, g) and prompts (B, n, C) to the frozen ViT's map."""


@dataclass(frozen=True)
class GanLayout:
    """Sizes of both networks.

    Args:
        noise: Z.
        text: D.
        tokens: C, width of the frozen ViT.
        grid: g, its cells per side.
        prompts: n, blocks that see a prompt.
        size: side of the pictures, in pixels, > g.
        width: most channels of the generator.
        least: its channels at the largest size; twice as many at each smaller one.
        bridge: channels of the bridge.
        inner: channels inside the blocks of the discriminator.
        judge: channels before its score.
    """

    noise: int
    text: int
    tokens: int
    grid: int
    prompts: int
    size: int
    width: int
    least: int
    bridge: int
    inner: int
    judge: int

    @property
    def stages(self) -> tuple[tuple[int, int], ...]:
        """(side, channels) of each stage of the generator: powers of two from the grid on, then the size.

        Example:
            >>> GanLayout(100, 512, 768, 7, 8, 224, 512, 64, 64, 768, 512).stages
            ((8, 512), (16, 512), (32, 512), (64, 256), (128, 128), (224, 64))
        """
        sides = [2**k for k in range(16) if self.grid <= 2**k < self.size] + [self.size]
        last = len(sides) - 1
        return tuple((side, min(self.width, self.least * 2 ** (last - i))) for i, side in enumerate(sides))


class Modulation(nn.Module):
    """F of the head of this file.

    Args:
        condition: width of y.
        channels: of h.
    """

    def __init__(self, condition: int, channels: int) -> None:
        super().__init__()
        self.affine = nn.ModuleList(
            nn.Sequential(nn.Linear(condition, channels), nn.ReLU(), nn.Linear(channels, channels)) for _ in range(4)
        )
        for k, layers in enumerate(self.affine):
            last = layers.get_submodule("2")
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.constant_(last.bias, float(k % 2 == 0))  # gains, then offsets

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        """Return the modulated (B, C, h, w)."""
        for k in (0, 2):
            gain, offset = (self.affine[k + i](y)[:, :, None, None] for i in (0, 1))
            h = leaky_relu(gain * h + offset, SLOPE)
        return h


class BridgeBlock(nn.Module):
    """M of the head of this file.

    Args:
        condition: width of y.
        channels: of h; half of them inside.
    """

    def __init__(self, condition: int, channels: int) -> None:
        super().__init__()
        half = max(1, channels // 2)
        self.first, self.second = nn.Conv2d(channels, half, 3, 1, 1), nn.Conv2d(half, channels, 3, 1, 1)
        self.one, self.two = Modulation(condition, half), Modulation(condition, channels)

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        """Return (B, C, g, g)."""
        out: Tensor = h + self.two(self.second(self.one(self.first(h), y)), y)
        return out


class GrowBlock(nn.Module):
    """G of the head of this file.

    Args:
        condition: width of y.
        into: channels of h.
        out: channels of the result.
    """

    def __init__(self, condition: int, into: int, out: int) -> None:
        super().__init__()
        self.one, self.two = Modulation(condition, into), Modulation(condition, out)
        self.first, self.second = nn.Conv2d(into, out, 3, 1, 1), nn.Conv2d(out, out, 3, 1, 1)
        self.skip = nn.Identity() if into == out else nn.Conv2d(into, out, 1)

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        """Return (B, out, h, w)."""
        out: Tensor = self.skip(h) + self.second(self.two(self.first(self.one(h, y)), y))
        return out


class BridgeGenerator(nn.Module):
    """The generator; see the head of this file.

    Args:
        layout: sizes.
    """

    def __init__(self, layout: GanLayout) -> None:
        super().__init__()
        self.layout = lay = layout
        condition = lay.noise + lay.text
        self.start = nn.Linear(lay.noise, lay.bridge * lay.grid**2)
        self.bridge = nn.ModuleList(BridgeBlock(condition, lay.bridge) for _ in range(4))
        self.to_vit = nn.Conv2d(lay.bridge, lay.tokens, 5, 1, 2)
        self.prompts = nn.Linear(condition, lay.prompts * lay.tokens)
        channels = [lay.stages[0][1], *(c for _, c in lay.stages)]
        self.from_vit = nn.Conv2d(lay.tokens, channels[0], 5, 1, 2)
        self.grow = nn.ModuleList(GrowBlock(condition, a, b) for a, b in pairwise(channels))
        self.to_rgb = nn.Conv2d(channels[-1], 3, 3, 1, 1)

    def forward(self, z: Tensor, t: Tensor, prompted: Prompted) -> Tensor:
        """Return (B, 3, size, size) pictures, around [-1, 1].

        Args:
            z: (B, Z) noise.
            t: (B, D) text embeddings.
            prompted: the frozen ViT.
        """
        lay, y = self.layout, torch.cat([z, t], dim=1)
        h = self.start(z).reshape(-1, lay.bridge, lay.grid, lay.grid)
        for block in self.bridge:
            h = block(h, y)
        bridge = self.to_vit(h)
        seen = prompted(bridge, self.prompts(y).reshape(len(y), lay.prompts, lay.tokens))
        h = self.from_vit(bridge + OF_VIT * seen)
        for (side, _), block in zip(lay.stages, self.grow, strict=True):
            h = block(interpolate(h, size=(side, side), mode="nearest"), y)
        out: Tensor = self.to_rgb(leaky_relu(h, SLOPE))
        return out


def _two_convolutions(into: int, inner: int, out: int) -> nn.Sequential:
    layers = ((into, inner), (inner, out))
    return nn.Sequential(*(m for a, b in layers for m in (nn.Conv2d(a, b, 3, 1, 1, bias=False), nn.LeakyReLU(SLOPE))))


class MapDiscriminator(nn.Module):
    """The discriminator; see the head of this file.

    Args:
        layout: sizes.
    """

    def __init__(self, layout: GanLayout) -> None:
        super().__init__()
        c, inner, judge = layout.tokens, layout.inner, layout.judge
        self.convs = nn.ModuleList(_two_convolutions(c, inner, c) for _ in "ab")
        self.shares = nn.Parameter(torch.zeros(2, 2))
        self.skip, self.block = nn.Conv2d(c, judge, 1), _two_convolutions(c, judge, judge)
        self.share = nn.Parameter(torch.zeros(()))
        self.joint = nn.Conv2d(judge + layout.text, judge // 4, 4, bias=False)
        self.score = nn.Conv2d(judge // 4, 1, 4, bias=False)

    def forward(self, maps: Tensor, t: Tensor) -> Tensor:
        """Return (B,) scores of pictures as real ones of their texts.

        Args:
            maps: (B, 3, C, g, g) of the frozen ViT.
            t: (B, D) text embeddings.
        """
        h = maps[:, 0]
        for k, conv in enumerate(self.convs):
            h = h + self.shares[k, 0] * conv(h) + self.shares[k, 1] * maps[:, k + 1]
        h = self.skip(h) + self.share * self.block(h)
        if h.shape[-1] < LEAST:
            h = interpolate(h, size=(LEAST, LEAST), mode="nearest")
        tiled = t[:, :, None, None].expand(-1, -1, *h.shape[2:])
        scores: Tensor = self.score(leaky_relu(self.joint(torch.cat([h, tiled], dim=1)), SLOPE))
        return scores.mean((1, 2, 3))


def hinge(real: Tensor, fake: Tensor, mismatched: Tensor) -> Tensor:
    """Return the discriminator's loss: 1 at most for real pairs, and half as much each for the two wrong kinds.

    Args:
        real: (B,) scores of real pictures with their texts.
        fake: (B,) scores of generated pictures with their texts.
        mismatched: (B,) scores of real pictures with other texts.
    """
    return relu(1 - real).mean() + (relu(1 + fake).mean() + relu(1 + mismatched).mean()) / 2


def matching_penalty(scores: Tensor, maps: Tensor, t: Tensor, weight: float, power: float) -> Tensor:
    """Return weight times the mean of the length of D's gradient by maps and texts, to a power.

    Args:
        scores: (B,) of real pairs.
        maps: that they were computed from, which require gradients.
        t: texts, likewise.
        weight: >= 0; 2 (Tao et al. 2022, DF-GAN).
        power: > 0; 6.
    """
    of_maps, of_texts = torch.autograd.grad(scores.sum(), (maps, t), create_graph=True)
    lengths = torch.cat([of_maps.flatten(1), of_texts.flatten(1)], dim=1).norm(dim=1)
    out: Tensor = weight * (lengths**power).mean()
    return out
