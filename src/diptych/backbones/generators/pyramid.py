"""The encoders of e4e and pSp, from a photo of 256 pixels to w+ of StyleGAN2, as functions of their released weights.

    x   = prelu(bn(conv(photo)))
    x   = s(x) + gate(b) b,   b = bn(conv(prelu(conv(bn(x)))))          24 times: IR-SE-50
    gate(b) = sigmoid(F_2 relu(F_1 mean(b)))                            mean over the pixels
    c_1, c_2, c_3 = x behind block 6, 20 and 23                         sides 64, 32 and 16
    p_3 = c_3,  p_2 = up(p_3) + l_1 c_2,  p_1 = up(p_2) + l_2 c_1
    h_i = linear(convolutions(p_l(i)))                                  l(i) = 3 for i < 3, 2 for i < 7, else 1

    e4e:  w_0 = mean + h_0,  w_i = w_0 + h_i
    pSp:  w_i = mean + h_i

s: every second pixel where the block halves the side, after a convolution of 1 x 1 where it widens, else x itself
bn: batch normalisation with its stored statistics;  l_1, l_2: convolutions of 1 x 1;  up: bilinear, corners on corners
convolutions: of stride 2 down to one pixel, each followed by a leaky ReLU
linear: weights divided by the root of their inputs

Source: Tov et al. 2021 (e4e), section 4; Richardson et al. 2021 (pSp), section 3; layouts of omertov/encoder4editing at
99ea505 and eladrich/pixel2style2pixel at 5cfff38. None of the released files was opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, interpolate, leaky_relu, prelu

from diptych.backbones.generators.files import EncoderFile
from diptych.backbones.generators.stylegan2 import StyleGAN2, equal_linear
from diptych.backbones.released_checks import misfit, refuse_not_finite
from diptych.core import DataError, Styles

BLOCKS = 24
HALVING = (0, 3, 7, 21)
"""Blocks that halve the side; all but the first widen too."""
TAPS = (6, 20, 23)
"""Blocks behind which the maps are taken, the finest first."""
COARSE, MEDIUM = 3, 7
"""First latents of the middle and of the fine map."""
SQUEEZE = 16
"""Times by which the gate of a block is narrower than the block."""
AT_ONCE = 4
"""Photos that are encoded at once, which bounds the memory."""
TYPES: Mapping[str, Literal["e4e", "pSp"]] = {"Encoder4Editing": "e4e", "GradualStyleEncoder": "pSp"}
"""Name of the encoder in a file's options -> which of both it is."""


def level_of(latent: int) -> int:
    """Return the number of the map, 0 the finest, from which a latent is computed."""
    return 2 if latent < COARSE else 1 if latent < MEDIUM else 0


@dataclass(frozen=True)
class PyramidInverter:
    """Finds w+ of photos; see the head of this file. It is saved by its fingerprint: whoever loads brings the file.

    Args:
        weights: by the names of the released files, without "encoder.".
        generator: whose w+ it gives.
        mean: (C,) or (latents, C), which is added to what the heads give; zeros where the file has none.
        kind: which of both networks it is.
    """

    weights: Mapping[str, Tensor]
    generator: StyleGAN2
    mean: Tensor
    kind: Literal["e4e", "pSp"]

    @property
    def size(self) -> int:
        """Side of the photos that it reads; others are resized to it."""
        return 256

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the three maps, the finest first."""
        return tuple(len(self.weights[f"body.{i}.res_layer.3.weight"]) for i in TAPS)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the weights, of the mean and of the generator."""
        digest = hashlib.sha256(f"pyramid/{self.kind}/{self.generator.fingerprint}".encode())
        for name, value in [*sorted(self.weights.items()), ("mean", self.mean)]:
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def maps(self, images: Tensor, /) -> tuple[Tensor, ...]:
        """Return c_1, c_2, c_3 of (B, 3, h, w) pictures in [0, 1]."""
        if tuple(images.shape[-2:]) != (self.size, self.size):
            images = interpolate(images, size=(self.size, self.size), mode="bilinear", antialias=True).clamp(0, 1)
        x = conv2d(images * 2 - 1, self._weight("input_layer.0.weight", images), padding=1)
        x, out = prelu(self._norm("input_layer.1", x), self._weight("input_layer.2.weight", x)), []
        for i in range(BLOCKS):
            x = self._block(i, x)
            if i in TAPS:
                out.append(x)
        return tuple(out)

    def codes(self, maps: tuple[Tensor, ...], /) -> Tensor:
        """Return (B, latents, C), w+ without the mean, of three maps."""
        c1, c2, c3 = maps
        p2 = _onto(c3, self._lateral("latlayer1", c2))
        p = (_onto(p2, self._lateral("latlayer2", c1)), p2, c3)
        heads = torch.stack([self._head(i, p[level_of(i)]) for i in range(self.generator.latents)], dim=1)
        return torch.cat([heads[:, :1], heads[:, :1] + heads[:, 1:]], dim=1) if self.kind == "e4e" else heads

    def w_plus(self, images: Tensor) -> Tensor:
        """Return (B, latents, C) w+ of (B, 3, h, w) pictures in [0, 1]."""
        return self.mean.to(images) + self.codes(self.maps(images))

    def invert(self, images: Tensor, /) -> Styles:
        """Return the styles from which the generator draws (B, 3, h, w) pictures again; a few are encoded at once."""
        if not len(images):
            return self.generator.styles(images.new_zeros(0, self.generator.latents, self.generator.style_dim))
        return self.generator.styles(torch.cat([self.w_plus(some) for some in torch.split(images, AT_ONCE)]))

    def _block(self, i: int, x: Tensor) -> Tensor:
        name, stride = f"body.{i}", 2 if i in HALVING else 1
        b = conv2d(self._norm(f"{name}.res_layer.0", x), self._weight(f"{name}.res_layer.1.weight", x), padding=1)
        b = prelu(b, self._weight(f"{name}.res_layer.2.weight", x))
        b = conv2d(b, self._weight(f"{name}.res_layer.3.weight", x), stride=stride, padding=1)
        b = self._norm(f"{name}.res_layer.4", b)
        gate = conv2d(b.mean((2, 3), keepdim=True), self._weight(f"{name}.res_layer.5.fc1.weight", x)).relu()
        gate = conv2d(gate, self._weight(f"{name}.res_layer.5.fc2.weight", x)).sigmoid()
        short = x[:, :, ::stride, ::stride]
        if f"{name}.shortcut_layer.0.weight" in self.weights:
            short = conv2d(short, self._weight(f"{name}.shortcut_layer.0.weight", x))
            short = self._norm(f"{name}.shortcut_layer.1", short)
        return gate * b + short

    def _head(self, i: int, x: Tensor) -> Tensor:
        name = f"styles.{i}"
        for k in range(convolutions(i)):
            weight, bias = (self._weight(f"{name}.convs.{2 * k}.{part}", x) for part in ("weight", "bias"))
            x = leaky_relu(conv2d(x, weight, bias, stride=2, padding=1), 0.01)
        return equal_linear(
            x.flatten(1), self._weight(f"{name}.linear.weight", x), self._weight(f"{name}.linear.bias", x)
        )

    def _lateral(self, name: str, x: Tensor) -> Tensor:
        return conv2d(x, self._weight(f"{name}.weight", x), self._weight(f"{name}.bias", x))

    def _norm(self, name: str, x: Tensor) -> Tensor:
        mean, variance = (self._weight(f"{name}.running_{part}", x) for part in ("mean", "var"))
        return batch_norm(x, mean, variance, self._weight(f"{name}.weight", x), self._weight(f"{name}.bias", x))

    def _weight(self, name: str, like: Tensor) -> Tensor:
        return self.weights[name].to(like)


def _onto(coarse: Tensor, fine: Tensor) -> Tensor:
    return interpolate(coarse, size=tuple(fine.shape[-2:]), mode="bilinear", align_corners=True) + fine


def convolutions(latent: int) -> int:
    """Return the number of convolutions in the head of a latent: each halves its map, of side 16, 32 or 64."""
    return 6 - level_of(latent)


def shapes(latents: int, start: int, widths: tuple[int, int, int, int], style: int) -> dict[str, tuple[int, ...]]:
    """Return what an encoder's tensors are called, and their sizes.

    Args:
        latents: number of w in a w+.
        start: channels of the first convolution; 64.
        widths: channels of the blocks from 0, 3, 7 and 21 on; (64, 128, 256, 512).
        style: C, also the channels of a head; 512.

    Example:
        >>> import math
        >>> sizes = shapes(18, 64, (64, 128, 256, 512), 512)
        >>> sum(math.prod(shape) for name, shape in sizes.items() if "running" not in name)
        267136704
    """
    out: dict[str, tuple[int, ...]] = {"input_layer.0.weight": (start, 3, 3, 3), "input_layer.2.weight": (start,)}

    def norm(name: str, width: int) -> None:
        out.update({f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")})

    norm("input_layer.1", start)
    into = start
    for i in range(BLOCKS):
        wide, name = widths[sum(i >= first for first in HALVING) - 1], f"body.{i}"
        norm(f"{name}.res_layer.0", into)
        norm(f"{name}.res_layer.4", wide)
        out[f"{name}.res_layer.1.weight"] = (wide, into, 3, 3)
        out[f"{name}.res_layer.2.weight"] = (wide,)
        out[f"{name}.res_layer.3.weight"] = (wide, wide, 3, 3)
        out[f"{name}.res_layer.5.fc1.weight"] = (wide // SQUEEZE, wide, 1, 1)
        out[f"{name}.res_layer.5.fc2.weight"] = (wide, wide // SQUEEZE, 1, 1)
        if into != wide:
            out[f"{name}.shortcut_layer.0.weight"] = (wide, into, 1, 1)
            norm(f"{name}.shortcut_layer.1", wide)
        into = wide
    for name, width in (("latlayer1", widths[2]), ("latlayer2", widths[1])):
        out |= {f"{name}.weight": (widths[3], width, 1, 1), f"{name}.bias": (widths[3],)}
    for i in range(latents):
        for k in range(convolutions(i)):
            from_width = widths[3] if k == 0 else style
            out[f"styles.{i}.convs.{2 * k}.weight"] = (style, from_width, 3, 3)
            out[f"styles.{i}.convs.{2 * k}.bias"] = (style,)
        out |= {f"styles.{i}.linear.weight": (style, style), f"styles.{i}.linear.bias": (style,)}
    return out


def inverter_of(file: EncoderFile, generator: StyleGAN2, path: Path) -> PyramidInverter:
    """Return the inverter of a file, whose tensors must all have their places.

    Raises:
        DataError: tensors are missing, unexpected or of another shape, of which the first three are named; or the
            encoder is of another kind or generator.
    """
    tensors = {n: t for n, t in file.tensors.items() if not n.endswith("num_batches_tracked")}
    name = str(file.options.get("encoder_type", "none"))
    if name not in TYPES:
        raise DataError(
            f"{path} holds an encoder of the type {name}, which is not read here: give one of {', '.join(TYPES)}, as "
            f"its opts say."
        )
    first = tensors.get("input_layer.0.weight")
    if first is not None and first.ndim == 4 and first.shape[1] != 3:
        raise DataError(f"{path} encodes pictures of {first.shape[1]} channels: give an inverter of photos.")

    def width(of: str) -> int:
        return len(tensors[of]) if of in tensors and tensors[of].ndim else 0

    a, b, c, d = (width(f"body.{i}.res_layer.4.bias") for i in HALVING)
    wanted = shapes(generator.latents, width("input_layer.1.bias"), (a, b, c, d), generator.style_dim)
    with torch.device("meta"):
        complaints = misfit(tensors, {n: torch.empty(shape) for n, shape in wanted.items()})
    if complaints:
        raise DataError(
            f"{path} does not fit {TYPES[name]} for a generator of {generator.size} pixels, tensors {complaints}: give "
            f"the inverter of this {{generator}}."
        )
    refuse_not_finite(tensors, path)
    return PyramidInverter(tensors, generator, _mean(file, generator, path), TYPES[name])


def _mean(file: EncoderFile, generator: StyleGAN2, path: Path) -> Tensor:
    """Return what is added to the codes: (C,) where it is the same for all latents."""
    style = generator.style_dim
    if not file.options.get("start_from_latent_avg", file.latent_avg is not None):
        return torch.zeros(style)
    mean = file.latent_avg
    if mean is None or tuple(mean.shape) not in ((style,), (generator.latents, style)):
        size = "none" if mean is None else f"one of {tuple(mean.shape)}"
        raise DataError(
            f"{path} holds {size} for latent_avg, which its codes start from: it must be of "
            f"({generator.latents}, {style})."
        )
    return mean[0] if mean.ndim == 2 and bool((mean == mean[0]).all()) else mean
