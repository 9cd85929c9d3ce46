"""Files in which StyleGAN2 and its inverters are released: what lies where in them. Nothing in a file is run.

========================  ==============================================================================================
file                      content
========================  ==============================================================================================
port by rosinality        "g_ema", the generator; "latent_avg", (C,) mean of w; or the generator alone
e4e, pSp, CLIPInverter    "state_dict", with names "decoder...." for the generator and "encoder...." for the inverter;
                          "latent_avg", (latents, C); "opts", settings
stylegan2-ada-pytorch     a pickle that holds its own source code, which is run when it is opened: refused, with the
                          command by which a person who trusts it makes a file of tensors
========================  ==============================================================================================

Source: rosinality/stylegan2-pytorch at bef283a (convert_weight.py), omertov/encoder4editing at 99ea505 and
eladrich/pixel2style2pixel at 5cfff38 (models/psp.py), NVlabs/stylegan2-ada-pytorch at d72cc7d (training/networks.py).
None of the released files themselves was opened.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diptych.backbones.file_kinds import check_weight_file
from diptych.backbones.generators.stylegan2 import CLAMP
from diptych.backbones.weights import read_nested
from diptych.core import DataError, UsageError

SUFFIXES = (".safetensors", ".pt", ".pth", ".pkl")
"""Of files with weights of a generator."""
_BESIDE = ("lambdas.", "affine_mlps.")
"""CLIPInverter's refinement, which its file has among the names of the generator."""


@dataclass(frozen=True)
class EncoderFile:
    """What a file holds of an inverter.

    Args:
        tensors: without "encoder.".
        latent_avg: (C,) or (latents, C); None: there is none.
        options: plain settings of its training.
    """

    tensors: Mapping[str, Tensor]
    latent_avg: Tensor | None
    options: Mapping[str, Any] = field(default_factory=dict)


def generator_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a generator by the names of its file, in float32, with "latent_avg" where it is there.

    Raises:
        UsageError: there is no such file, or it can run code.
        DataError: it is damaged, or holds no tensors of a generator.
    """
    content = _opened(path)
    if (both := _named(content.get("state_dict"))) is None:
        inner = _named(content.get("g_ema"))
        state = dict(inner) if inner is not None else {k.removeprefix("g_ema."): t for k, t in content.items()}
    else:
        named = {k.removeprefix("decoder."): t for k, t in both.items() if k.startswith("decoder.")}
        state = {name: t for name, t in named.items() if not name.startswith(_BESIDE)}
        if not state:
            raise DataError(f"{path} holds no generator: no name begins with decoder.")
    if isinstance(content.get("latent_avg"), Tensor):
        mean = content["latent_avg"]
        state["latent_avg"] = mean[0] if mean.ndim == 2 else mean
    if isinstance(content.get(CLAMP), (int, float)):
        state[CLAMP] = torch.tensor(float(content[CLAMP]))
    return _floats(state, path)


def encoder_tensors(path: Path) -> EncoderFile:
    """Return what a file of e4e or pSp holds of the inverter.

    Raises:
        UsageError: there is no such file, or it can run code.
        DataError: it is damaged, or holds no encoder.
    """
    content = _opened(path)
    state, options, mean = _named(content.get("state_dict")), content.get("opts"), content.get("latent_avg")
    named = {k.removeprefix("encoder."): t for k, t in (state or {}).items() if k.startswith("encoder.")}
    if not named:
        raise DataError(
            f"{path} holds no inverter: give a file of e4e or pSp, such as e4e_ffhq_encode.pt, whose state_dict has "
            f"names that begin with encoder."
        )
    return EncoderFile(
        _floats(named, path),
        _floats({"latent_avg": mean}, path)["latent_avg"] if isinstance(mean, Tensor) else None,
        options if isinstance(options, Mapping) else {},
    )


def _opened(path: Path) -> dict[str, Any]:
    """Return the dictionary that a file holds, after refusing files that run code when they are opened."""
    if path.suffix != ".pkl" or path.is_file():  # how to convert one is worth knowing before it lies there
        check_weight_file(path)
    if path.suffix == ".pkl":
        raise UsageError(
            f"{path} runs code when it is opened: where you trust it, convert it once, in a checkout of "
            f"stylegan2-ada-pytorch, by {nvidia_alone(path)}, and give the file that it writes."
        )
    more = f"take them out once, where you trust it, by {parts_alone(path)}, and give the file that it writes."
    content = read_nested(path, more)
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise DataError(f"{path} holds no tensors by name: give a generator's state dict.")
    return dict(content)


def _named(content: object) -> Mapping[str, Any] | None:
    """Return a dictionary of names; None for everything else."""
    return content if isinstance(content, Mapping) and all(isinstance(name, str) for name in content) else None


def _floats(state: Mapping[str, object], path: Path) -> dict[str, Tensor]:
    """Return tensors in memory of their own, those of numbers in float32.

    Raises:
        DataError: one is no tensor.
    """
    strange = sorted(n for n, t in state.items() if not isinstance(t, Tensor) or t.layout is not torch.strided)
    if strange:
        raise DataError(f"{path} holds {', '.join(strange[:3])}, no dense tensor: give a generator's state dict.")
    return {name: t.to(torch.float32, copy=True).contiguous() for name, t in state.items() if isinstance(t, Tensor)}


def parts_alone(path: Path) -> str:
    """Return the command by which a person takes tensors and settings out of a pickle that holds more.

    Example:
        >>> "a.tensors.pt" in parts_alone(Path("a.pt"))
        True
    """
    files = json.dumps(str(path)), json.dumps(str(path.with_suffix(".tensors.pt")))
    return _command(
        f'import torch; s = torch.load({files[0]}, "cpu", weights_only=False); o = s.get("opts", {{}}); '
        f'o = o if isinstance(o, dict) else vars(o); t = {{k: s[k] for k in ("g_ema", "state_dict", "latent_avg") '
        f'if k in s}}; t["opts"] = {{k: v for k, v in o.items() if isinstance(v, (str, int, float))}}; '
        f"torch.save(t, {files[1]})"
    )


def nvidia_alone(path: Path) -> str:
    """Return the command by which a person makes tensors of a pickle of stylegan2-ada-pytorch, in its checkout.

    Example:
        >>> nvidia_alone(Path("ffhq.pkl")).startswith("python -c 'import pickle, torch; g = pickle.load")
        True
    """
    files = json.dumps(str(path)), json.dumps(str(path.with_suffix(".pt")))
    return _command(
        f'import pickle, torch; g = pickle.load(open({files[0]}, "rb"))["G_ema"]; torch.save({{"g_ema": '
        f'g.state_dict(), "{CLAMP}": g.synthesis.b4.conv1.conv_clamp}}, {files[1]})'
    )


def _command(script: str) -> str:
    return f"python -c {shlex.quote(script)}"
