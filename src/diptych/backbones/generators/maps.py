"""An encoder from pictures to w+ through three feature maps, in the layout of e4e, for the generator ``small``.

    c_1, c_2, c_3 = convolutions of the picture                   sides 1/2, 1/4 and 1/8 of the picture's
    p_3 = c_3,  p_2 = up(p_3) + a_2 c_2,  p_1 = up(p_2) + a_1 c_1
    w_0 = mean + h_0(p_3),  w_i = w_0 + h_i(p_l(i))

a_1, a_2: 1 x 1 convolutions;  up: bilinear, twice the side
h_i: head of latent i: convolutions of stride 2 down to 4 x 4, then a linear layer
l(i): 3 for the first three latents, 2 for the next two, 1 for the others
mean: mean of the generator's w

Source: Tov et al. 2021 (e4e), section 4; Richardson et al. 2021 (pSp), section 3. Sizes are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, leaky_relu, linear

from diptych.backbones.generators.stylegan2 import StyleGAN2
from diptych.core import Styles

STEM = (32, 32, 64, 64)
"""Channels of the convolutions; all but the first have stride 2 and give the maps."""
HEAD = 32
"""Channels inside a head."""
CELLS = 4
"""Side of a map where a head becomes linear."""


def level_of(latent: int) -> int:
    """Return the number of the map, 0 the finest, from which a latent is computed."""
    return 2 if latent < 3 else 1 if latent < 5 else 0


@dataclass(frozen=True)
class ThreeMapInverter:
    """Finds w+; see the head of this file.

    Args:
        weights: "stem.0.weight", ..., "lateral.0.weight", ..., "heads.0.0.weight", ..., "heads.0.last.weight", and
            "mean" (C,).
        generator: whose w+ it gives.
    """

    weights: Mapping[str, Tensor]
    generator: StyleGAN2

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the three maps, the finest first."""
        return tuple(len(self.weights[f"stem.{i}.weight"]) for i in (1, 2, 3))

    @property
    def mean(self) -> Tensor:
        """Mean of the generator's w."""
        return self.weights["mean"]

    def maps(self, images: Tensor, /) -> tuple[Tensor, ...]:
        """Return c_1, c_2, c_3 of (B, 3, size, size) pictures in [0, 1]."""
        x, out = images * 2 - 1, []
        for i in range(len(STEM)):
            x = leaky_relu(self._convolve(f"stem.{i}", x, stride=1 if i == 0 else 2), 0.2)
            out.append(x)
        return tuple(out[1:])

    def codes(self, maps: tuple[Tensor, ...], /) -> Tensor:
        """Return (B, latents, C), w+ without the mean, of three maps."""
        c1, c2, c3 = maps
        p2 = _doubled(c3) + self._convolve("lateral.1", c2)
        p = (_doubled(p2) + self._convolve("lateral.0", c1), p2, c3)
        latents = [self._head(i, p[level_of(i)]) for i in range(self.generator.latents)]
        return torch.stack([latents[0], *(latents[0] + more for more in latents[1:])], dim=1)

    def invert(self, images: Tensor, /) -> Styles:
        """Return the styles from which the generator draws (B, 3, size, size) pictures again."""
        return self.generator.styles(self.mean.to(images) + self.codes(self.maps(images)))

    def _head(self, i: int, x: Tensor) -> Tensor:
        k = 0
        while f"heads.{i}.{k}.weight" in self.weights:
            x = leaky_relu(self._convolve(f"heads.{i}.{k}", x, stride=1 if x.shape[-1] == CELLS else 2), 0.2)
            k += 1
        weight, bias = (self.weights[f"heads.{i}.last.{part}"].to(x) for part in ("weight", "bias"))
        return linear(x.flatten(1), weight, bias)

    def _convolve(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight, bias = (self.weights[f"{name}.{part}"].to(x) for part in ("weight", "bias"))
        return conv2d(x, weight, bias, stride=stride, padding=weight.shape[-1] // 2)


def _doubled(x: Tensor) -> Tensor:
    return interpolate(x, scale_factor=2.0, mode="bilinear")
