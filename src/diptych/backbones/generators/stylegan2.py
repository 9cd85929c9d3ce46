"""StyleGAN2's generator as a function of its weights: the synthesis network, and the style space of its convolutions.

s_l   = A_l w_l + a_l                                                style of convolution l: one number an input channel
y_o   = sum_i (W_oi s_i) * x_i / sqrt(sum_ik (W_oik s_i)^2 + 1e-8)   modulated, then demodulated
x     = lrelu(y + strength noise + b, 0.2) sqrt 2                    noise is a fixed buffer, so a picture depends on
                                                                     its styles alone
rgb   = up(rgb) + (V s_rgb) * x + c                                  colour layers take their styles from w, and
                                                                     are not demodulated
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, linear

from diptych.core import Styles

EPS = 1e-8
CLAMP = "conv_clamp"
"""Name of the largest absolute value of a layer's output, of 2-ada."""
LR_MULTIPLIER = 0.01
"""Of the mapping network: its weights are stored divided by it."""


def blur_kernel() -> Tensor:
    """Return the (4, 4) outer product of (1, 3, 3, 1) with itself, scaled to sum 4.

    The sum preserves the mean where zeros were inserted between pixels.
    """
    row = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return 4 * row[:, None] * row / row.sum() ** 2


def modulated(x: Tensor, weight: Tensor, s: Tensor, *, up: bool = False, demodulate: bool = True) -> Tensor:
    """Return the convolution of x with each picture's own weights, scaled by 1 / sqrt(I k k).

    Args:
        x: (B, I, h, w).
        weight: (O, I, k, k), k odd.
        s: (B, I) styles.
        up: twice the size: a transposed convolution of stride 2, then the blur.
        demodulate: bring each output channel's weights to unit norm.

    Source: Karras et al. 2020 (StyleGAN2), section 2.2; the channels are scaled instead of the weights, which is the
        same.
    """
    weight = weight / math.sqrt(weight[0].numel())
    y = x * s[:, :, None, None]
    if up:
        y = conv_transpose2d(y, weight.transpose(0, 1), stride=2)
        y = conv2d(y, blur_kernel().to(y).expand(y.shape[1], 1, 4, 4), padding=1, groups=y.shape[1])
    else:
        y = conv2d(y, weight, padding=weight.shape[-1] // 2)
    if demodulate:
        norm = s.square() @ weight.square().sum((2, 3)).T
        y = y * torch.rsqrt(norm + EPS)[:, :, None, None]
    return y


def doubled(x: Tensor) -> Tensor:
    """Return (B, C, 2h, 2w): zeros put between the pixels, then the blur."""
    return conv_transpose2d(x, blur_kernel().to(x).expand(x.shape[1], 1, 4, 4), stride=2, padding=1, groups=x.shape[1])


def normalised(z: Tensor) -> Tensor:
    """Return (B, C) z of mean square 1, as the mapping network reads it."""
    return z * torch.rsqrt(z.square().mean(1, keepdim=True) + EPS)


def equal_linear(x: Tensor, weight: Tensor, bias: Tensor, multiplier: float = 1.0) -> Tensor:
    """Return x (W multiplier / sqrt I)^T + multiplier b, a layer whose initial weights are standard normal."""
    return linear(x, weight * (multiplier / math.sqrt(weight.shape[1])), bias * multiplier)


@dataclass(frozen=True)
class StyleGAN2:
    """Draws pictures by StyleGAN2's generator, 2 or 2-ada.

    Args:
        weights: float32 tensors under the names of the PyTorch port by rosinality (``convs.0.conv.weight``);
            "latent_avg" is the mean of w, "conv_clamp", (), the largest absolute value of a layer's output, where
            there is one. Layers without "noise.weight" have no noise. See ``generators.load``.
        truncation: w is drawn as mean + truncation (w - mean).
    """

    weights: Mapping[str, Tensor]
    truncation: float = 1.0

    @property
    def size(self) -> int:
        """Side of the pictures."""
        return int(
            4
            << sum(
                1
                for name in self.weights
                if name.startswith("to_rgbs.") and name.endswith(".bias") and name.count(".") == 2
            )
        )

    @property
    def style_dim(self) -> int:
        """Width C of w."""
        return int(self.weights["conv1.conv.modulation.weight"].shape[1])

    @property
    def latents(self) -> int:
        """Number of w in a w+: 2 log2(size) - 2."""
        return 2 * int(math.log2(self.size)) - 2

    @property
    def channels(self) -> tuple[int, ...]:
        """Input channels of each 3 x 3 convolution."""
        return tuple(int(self.weights[f"{layer}.conv.modulation.weight"].shape[0]) for layer in self.convolutions())

    @property
    def fingerprint(self) -> str:
        """Hash of the weights and the truncation."""
        digest = hashlib.sha256(f"stylegan2/{self.truncation}".encode())
        for name, value in sorted(self.weights.items()):
            digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def sample(self, n: int, g: torch.Generator, /) -> Styles:
        """Draw n latents, one w for all layers of a picture, and return their styles."""
        return self.styles(self.map(torch.randn(n, self.style_dim, generator=g)))

    def map(self, z: Tensor) -> Tensor:
        """Return (B, latents, C) w+ of (B, C) standard normal z, truncated."""
        w = normalised(z)
        for i in range(1, 1 + self._depth()):
            weight, bias = (self.weights[f"style.{i}.{part}"].to(z) for part in ("weight", "bias"))
            w = leaky_relu(equal_linear(w, weight, bias, LR_MULTIPLIER), 0.2) * math.sqrt(2)
        if self.truncation != 1:
            mean = self.weights["latent_avg"].to(z)
            w = mean + self.truncation * (w - mean)
        return w[:, None].expand(-1, self.latents, -1)

    def styles(self, w_plus: Tensor) -> Styles:
        """Return the styles of (B, latents, C) w+: s of the convolutions, and flat w+ for the colour layers."""
        s = [self._affine(layer, w_plus[:, i]) for i, layer in enumerate(self.convolutions())]
        return Styles(torch.cat(s, dim=1), w_plus.flatten(1))

    def synthesise(self, styles: Styles, /) -> Tensor:
        """Return (B, 3, size, size) pictures in [0, 1]: ``unclipped``, clipped."""
        return self.unclipped(styles).clamp(0, 1)

    def unclipped(self, styles: Styles) -> Tensor:
        """Return (B, 3, size, size) pictures, mapped from [-1, 1] to [0, 1] and not clipped."""
        s = torch.split(styles.s, list(self.channels), dim=1)
        w_plus = torch.unflatten(styles.rest, 1, (self.latents, self.style_dim))
        x = self._weight("input.input", s[0]).expand(len(s[0]), -1, -1, -1)
        rgb: Tensor | None = None
        for i, layer in enumerate(self.convolutions()):
            x = self._convolve(layer, i, x, s[i])
            if i % 2 == 0:  # conv1, and the second convolution of every size after 4
                layer = "to_rgb1" if i == 0 else f"to_rgbs.{i // 2 - 1}"
                colours = modulated(
                    x,
                    self._weight(f"{layer}.conv.weight", x)[0],
                    self._affine(layer, w_plus[:, i + 1]),
                    demodulate=False,
                )
                colours = self._limited(colours + self._weight(f"{layer}.bias", x))
                rgb = colours if rgb is None else doubled(rgb) + colours
        assert rgb is not None
        return rgb / 2 + 0.5

    def _convolve(self, layer: str, i: int, x: Tensor, s: Tensor) -> Tensor:
        y = modulated(x, self._weight(f"{layer}.conv.weight", x)[0], s, up=i % 2 == 1)
        if f"{layer}.noise.weight" in self.weights:
            y = y + self._weight(f"{layer}.noise.weight", x) * self._weight(f"noises.noise_{i}", x)
        return self._limited(
            leaky_relu(y + self._weight(f"{layer}.activate.bias", x)[:, None, None], 0.2) * math.sqrt(2)
        )

    def _limited(self, x: Tensor) -> Tensor:
        """Return x, clipped where the generator was trained so."""
        if CLAMP not in self.weights:
            return x
        largest = float(self.weights[CLAMP])
        return x.clamp(-largest, largest)

    def _affine(self, layer: str, w: Tensor) -> Tensor:
        name = f"{layer}.conv.modulation"
        return equal_linear(w, self._weight(f"{name}.weight", w), self._weight(f"{name}.bias", w))

    def _weight(self, name: str, like: Tensor) -> Tensor:
        return self.weights[name].to(like)

    def convolutions(self) -> Iterator[str]:
        """Yield the names of the 3 x 3 convolutions, in order."""
        yield "conv1"
        yield from (f"convs.{i}" for i in range(self.latents - 2))

    def _depth(self) -> int:
        return sum(1 for name in self.weights if name.startswith("style.") and name.endswith(".weight"))
