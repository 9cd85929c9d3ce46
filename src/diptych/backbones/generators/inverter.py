"""A small convolutional encoder from pictures to a generator's code, the inverter of the generator ``small``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, leaky_relu, linear

from diptych.backbones.generators.stylegan2 import StyleGAN2
from diptych.core import Styles

WIDTHS = (32, 64, 64, 128)


@dataclass(frozen=True)
class ConvInverter:
    """Convolutions of 3 x 3, each after the first halving the size, then a linear layer to w.

    Args:
        weights: "0.weight", "0.bias", ... of the convolutions, "last.weight" and "last.bias".
        generator: whose pictures it reads, and whose styles it gives.
    """

    weights: Mapping[str, Tensor]
    generator: StyleGAN2

    def code(self, images: Tensor) -> Tensor:
        """Return (B, C) codes w of (B, 3, size, size) pictures in [0, 1]."""
        x = images * 2 - 1
        for i in range(len(WIDTHS)):
            weight, bias = (self.weights[f"{i}.{part}"].to(x) for part in ("weight", "bias"))
            x = leaky_relu(conv2d(x, weight, bias, stride=1 if i == 0 else 2, padding=1), 0.2)
        return linear(x.flatten(1), self.weights["last.weight"].to(x), self.weights["last.bias"].to(x))

    def invert(self, images: Tensor, /) -> Styles:
        """Return the styles from which the generator draws (B, 3, size, size) pictures again."""
        return self.generator.styles(self.code(images)[:, None].expand(-1, self.generator.latents, -1))


def fresh_encoder(style_dim: int, g: torch.Generator, size: int = 32) -> dict[str, Tensor]:
    """Return the initial weights of a training: normal, of variance 2 / fan-in."""
    out, into = {}, 3
    for i, wide in enumerate(WIDTHS):
        out[f"{i}.weight"] = torch.randn(wide, into, 3, 3, generator=g) * math.sqrt(2 / (9 * into))
        out[f"{i}.bias"] = torch.zeros(wide)
        into = wide
    cells = into * (size // 2 ** (len(WIDTHS) - 1)) ** 2
    out["last.weight"] = torch.randn(style_dim, cells, generator=g) / math.sqrt(cells)
    out["last.bias"] = torch.zeros(style_dim)
    return out
