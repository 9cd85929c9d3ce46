"""Opens generators by name: ``factors``, ``small``, and files with weights of StyleGAN2. Nothing in a file is run."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import conv2d, leaky_relu, linear

from diptych.backbones.generators.factors import FactorGenerator
from diptych.backbones.generators.files import SUFFIXES, encoder_tensors, generator_tensors
from diptych.backbones.generators.maps import ThreeMapInverter
from diptych.backbones.generators.pyramid import PyramidInverter, inverter_of
from diptych.backbones.generators.stylegan2 import CLAMP, StyleGAN2
from diptych.backbones.weights import read_state
from diptych.core import DataError, Inverter, MapInverter, NotAvailable, StyleGenerator, Styles, UsageError

SMALL = Path(__file__).parents[2] / "assets" / "generator" / "small.safetensors"
SMALL_MAPS = SMALL.with_name("small_maps.safetensors")
SMALL_DRAWS = FactorGenerator(
    32, ("red", "yellow", "green", "blue", "purple"), ("circle", "square", "triangle", "star")
)
"""Whose pictures the generator small was taught to draw."""
SMALL_PLACED = 0.3
"""How much of that generator's variation of place and size it was taught."""
MEAN_OF = 4096
"""Number of draws for the mean of w, where the file has none."""


def load_generator(name: str) -> tuple[StyleGenerator, Inverter | None]:
    """Return a generator, and its inverter where there is one.

    Args:
        name: "factors", "small", or a file with StyleGAN2 weights, "local:FILE" or its path, see ``load_stylegan2``.

    Raises:
        UsageError: the name is no generator, there is no such file, or it can run code.
        NotAvailable: ``small`` is missing from the installation.
        DataError: the file is damaged, or is of another network.
    """
    if name == "factors":
        return FactorGenerator(), None
    if name == "small":
        if not SMALL.is_file():
            raise NotAvailable(f"{SMALL} is missing from this installation: install diptych again, or use factors.")
        return load_small(SMALL)
    return load_stylegan2(weights_of(name)), None


def weights_of(
    name: str, wanted: str = "names no generator: use factors, small, or a file with StyleGAN2 weights"
) -> Path:
    """Return the file that "local:FILE" or its path names.

    Args:
        name: as the user wrote it.
        wanted: what it should be, for the error.

    Raises:
        UsageError: it is no name of a file of weights, or there is none.
    """
    if not ((name.startswith("local:") and len(name) > 6) or name.endswith(SUFFIXES)):
        raise UsageError(f"{name!r} {wanted}, .pt or .safetensors.")
    path = Path(name.removeprefix("local:")).expanduser()
    if path.suffix != ".pkl" and not path.is_file():  # no pickle is read, whether it is there or not
        raise UsageError(f"There is no weight file {path}: check the path.")
    return path


def load_inverter(file: str, generator: object) -> PyramidInverter:
    """Read the inverter of a generator from a file of e4e or pSp, whose decoder may be that generator.

    Args:
        file: .pt, "local:FILE" or its path, see ``generators.files``.
        generator: whose w+ it gives.

    Raises:
        UsageError: the generator has no w+, there is no such file, or it can run code.
        DataError: the file is damaged, holds no such encoder, or one of another generator.
    """
    if not isinstance(generator, StyleGAN2):
        raise UsageError(f"{file} inverts pictures of StyleGAN2: give a file with its weights as {{generator}}.")
    path = Path(file.removeprefix("local:")).expanduser()
    return inverter_of(encoder_tensors(path), generator, path)


def load_small(path: Path) -> tuple[StyleGAN2, ConvInverter]:
    """Read a generator and its encoder, as ``recipes.small_generator`` writes them."""
    state = {name: t.float() for name, t in read_state(path).items()}
    generator = StyleGAN2({name: t for name, t in state.items() if not name.startswith("encoder.")})
    return generator, ConvInverter({name[8:]: t for name, t in state.items() if name.startswith("encoder.")}, generator)


def load_maps(name: str) -> MapInverter | None:
    """Return the encoder of a generator of ``load_generator`` through feature maps; None where it has none.

    Raises:
        NotAvailable, DataError: the file is missing, or damaged.
    """
    return load_small_maps(SMALL_MAPS, load_small(SMALL)[0]) if name == "small" else None


def load_small_maps(path: Path, generator: StyleGAN2) -> ThreeMapInverter:
    """Read an encoder, as ``recipes.small_maps`` writes it."""
    return ThreeMapInverter({name: t.float() for name, t in read_state(path).items()}, generator)


def load_stylegan2(path: Path) -> StyleGAN2:
    """Read StyleGAN2 weights, 2 or 2-ada, from a file that runs no code.

    Args:
        path: .safetensors, .pt or .pth, with tensors named as in rosinality's port (its dict "g_ema"; "latent_avg"
            beside it is used where there), as the decoder of e4e and pSp, or as in NVIDIA's stylegan2-ada-pytorch
            ("mapping.fc0.weight", "synthesis.b4.const"); see ``generators.files``.

    Raises:
        UsageError: there is no such file; or it can run code, as a .pkl does: the conversion is named.
        DataError: the file is damaged, or its tensors are not those of a StyleGAN2 generator.
    """
    state = generator_tensors(path)
    if any(name.startswith("synthesis.") for name in state):
        state = from_nvidia(state, path)
    weights = {
        name: t for name, t in state.items() if not name.endswith(".kernel")
    }  # the blur, which is the same everywhere
    check(weights, path)
    generator = StyleGAN2(weights)
    if "latent_avg" not in weights:
        with torch.no_grad():
            z = torch.randn(MEAN_OF, generator.style_dim, generator=torch.Generator().manual_seed(0))
            weights["latent_avg"] = generator.map(z)[:, 0].mean(0)
    return StyleGAN2(weights)


def from_nvidia(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the tensors of stylegan2-ada-pytorch under rosinality's names.

    Raises:
        DataError: the generator is class-conditional, or a tensor has an unknown name.
    """
    out: dict[str, Tensor] = {}
    for name, t in state.items():
        if name.endswith("resample_filter"):
            continue
        if name == "mapping.w_avg":
            out["latent_avg"] = t
        elif renamed := re.fullmatch(r"mapping\.fc(\d+)\.(weight|bias)", name):
            out[f"style.{int(renamed[1]) + 1}.{renamed[2]}"] = t
        elif name == CLAMP:
            out[CLAMP] = t
        elif name == "synthesis.b4.const":
            out["input.input"] = t[None]
        elif renamed := re.fullmatch(r"synthesis\.b([48]|[1-9]\d{1,3})\.(conv0|conv1|torgb)\.([a-z_.]+)", name):
            out |= _nvidia_layer(int(math.log2(int(renamed[1]))) - 3, renamed[2], renamed[3], t, f"{path}: {name}")
        else:
            raise DataError(
                f"{path} holds the tensor {name}, which no unconditional StyleGAN2 generator has: give mapping and "
                f"synthesis."
            )
    return out


def _nvidia_layer(j: int, kind: str, part: str, t: Tensor, where: str) -> dict[str, Tensor]:
    """Rename one tensor of the layers of size 2^(j + 3)."""
    number = 2 * j + (kind == "conv1")
    layer = ("to_rgb1" if j < 0 else f"to_rgbs.{j}") if kind == "torgb" else ("conv1" if j < 0 else f"convs.{number}")
    match part:
        case "weight":
            return {f"{layer}.conv.weight": t[None]}
        case "affine.weight" | "affine.bias":
            return {f"{layer}.conv.modulation.{part[7:]}": t}
        case "bias" if kind == "torgb":
            return {f"{layer}.bias": t.reshape(1, 3, 1, 1)}
        case "bias":
            return {f"{layer}.activate.bias": t}
        case "noise_strength":
            return {f"{layer}.noise.weight": t.reshape(1)}
        case "noise_const":
            return {f"noises.noise_{0 if j < 0 else number + 1}": t[None, None]}
    raise DataError(f"{where} is no tensor of StyleGAN2: convert the generator (G_ema) alone.")


def check(weights: Mapping[str, Tensor], path: Path) -> None:
    """Compare names and sizes with what a StyleGAN2 generator of the file's own size and widths has.

    Raises:
        DataError: tensors are missing, of another size, or unknown.
    """
    first = [name for name in ("conv1.conv.modulation.weight", "input.input", "style.1.weight") if name not in weights]
    if first:
        raise DataError(
            f"{path} holds no StyleGAN2 generator, it lacks {', '.join(first)}: save the state dict of g_ema or G_ema."
        )
    sides = {"input.input": 4, "conv1.conv.modulation.weight": 2}
    if flat := [name for name, number in sides.items() if weights[name].ndim != number]:
        raise DataError(f"{path} has {', '.join(flat)} in other sizes than StyleGAN2: convert it again.")
    generator = StyleGAN2(weights)
    style, wide = generator.style_dim, weights["input.input"].shape[1]
    wanted: dict[str, tuple[int, ...]] = {"input.input": (1, wide, 4, 4)}
    for name in (n for n in weights if n.startswith("style.")):
        wanted[name] = (style, style) if name.endswith("weight") else (style,)
    into = wide
    for i, layer in enumerate(generator.convolutions()):
        expected = weights.get(f"{layer}.conv.weight")
        out = expected.shape[1] if expected is not None and expected.ndim == 5 else 0
        wanted |= {f"{layer}.conv.weight": (1, out, into, 3, 3), f"{layer}.activate.bias": (out,)}
        wanted |= {f"{layer}.conv.modulation.weight": (into, style), f"{layer}.conv.modulation.bias": (into,)}
        if f"{layer}.noise.weight" in weights:
            side = 4 << (i + 1) // 2
            wanted |= {f"{layer}.noise.weight": (1,), f"noises.noise_{i}": (1, 1, side, side)}
        into = out
        if i % 2 == 0:
            rgb = "to_rgb1" if i == 0 else f"to_rgbs.{i // 2 - 1}"
            wanted |= {f"{rgb}.conv.weight": (1, 3, out, 1, 1), f"{rgb}.bias": (1, 3, 1, 1)}
            wanted |= {f"{rgb}.conv.modulation.weight": (out, style), f"{rgb}.conv.modulation.bias": (out,)}
    wanted |= {name: shape for name, shape in (("latent_avg", (style,)), (CLAMP, ())) if name in weights}
    wrong = sorted(n for n, shape in wanted.items() if n not in weights or tuple(weights[n].shape) != shape)
    if wrong:
        raise DataError(
            f"{path} lacks tensors of StyleGAN2, or has them in other sizes: {', '.join(wrong[:3])}; convert it again."
        )
    if strange := sorted(weights.keys() - wanted.keys()):
        raise DataError(
            f"{path} holds tensors that StyleGAN2 has not: {', '.join(strange[:3])}; save the generator alone."
        )


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
