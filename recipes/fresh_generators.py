"""Initial weights of StyleGAN2 and of its encoders, with the names of the files that they are saved in."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from diptych.backbones.generators.load import WIDTHS
from diptych.backbones.generators.maps import CELLS, HEAD, STEM, level_of
from diptych.backbones.generators.stylegan2 import LR_MULTIPLIER, StyleGAN2


def fresh_weights(
    size: int, style_dim: int, widths: Mapping[int, int], depth: int, g: torch.Generator
) -> dict[str, Tensor]:
    """Return the initial weights of a training, without noise.

    Args:
        size: side of the pictures, a power of two from 8 on.
        style_dim: C.
        widths: side of a map (4, 8, ..., size) -> its channels.
        depth: layers of the mapping network; 0 makes none.
        g: generator of the draws.
    """

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g)

    out = {f"style.{i}.weight": normal(style_dim, style_dim) / LR_MULTIPLIER for i in range(1, depth + 1)}
    out |= {f"style.{i}.bias": torch.zeros(style_dim) for i in range(1, depth + 1)}
    out["input.input"] = normal(1, widths[4], 4, 4)

    def layer(name: str, into: int, wide: int, kernel: int) -> None:
        out[f"{name}.conv.weight"] = normal(1, wide, into, kernel, kernel)
        out[f"{name}.conv.modulation.weight"] = normal(into, style_dim)
        out[f"{name}.conv.modulation.bias"] = torch.ones(into)
        bias = f"{name}.activate.bias" if kernel == 3 else f"{name}.bias"
        out[bias] = torch.zeros(wide) if kernel == 3 else torch.zeros(1, 3, 1, 1)

    layer("conv1", widths[4], widths[4], 3)
    layer("to_rgb1", widths[4], 3, 1)
    for j, side in enumerate(2**k for k in range(3, int(math.log2(size)) + 1)):
        layer(f"convs.{2 * j}", widths[side // 2], widths[side], 3)
        layer(f"convs.{2 * j + 1}", widths[side], widths[side], 3)
        layer(f"to_rgbs.{j}", widths[side], 3, 1)
    return out


def fresh_maps(generator: StyleGAN2, g: torch.Generator) -> dict[str, Tensor]:
    """Return the initial weights of a training, without the mean: normal, of variance 2 / fan-in, heads near 0.

    Args:
        generator: of pictures of at least 32 pixels.
        g: generator of the draws.
    """
    out: dict[str, Tensor] = {}

    def layer(name: str, into: int, wide: int, kernel: int) -> None:
        out[f"{name}.weight"] = torch.randn(wide, into, kernel, kernel, generator=g) * math.sqrt(2 / (kernel**2 * into))
        out[f"{name}.bias"] = torch.zeros(wide)

    for i, (into, wide) in enumerate(zip((3, *STEM), STEM, strict=False)):
        layer(f"stem.{i}", into, wide, 3)
    for i in (0, 1):
        layer(f"lateral.{i}", STEM[i + 1], STEM[-1], 1)
    for i in range(generator.latents):
        halvings = int(math.log2(generator.size // 2 ** (level_of(i) + 1) // CELLS))
        for k in range(max(1, halvings)):
            layer(f"heads.{i}.{k}", STEM[-1] if k == 0 else HEAD, HEAD, 3 if halvings else 1)
        inputs = HEAD * CELLS**2
        out[f"heads.{i}.last.weight"] = torch.randn(generator.style_dim, inputs, generator=g) / inputs
        out[f"heads.{i}.last.bias"] = torch.zeros(generator.style_dim)
    return out


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
