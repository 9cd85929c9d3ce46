"""A copy of an encoder with bfloat16 weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from diptych.backbones.engines.parity import rows
from diptych.core import Encoder, Inputs


def module_of(encoder: Encoder[Any]) -> tuple[str, nn.Module]:
    """Return the attribute that holds an encoder's module, and the module."""
    for name, value in vars(encoder).items():
        if isinstance(value, nn.Module):
            return name, value
    raise TypeError(f"{type(encoder).__name__} keeps its module where it is not found")


def in_bf16(encoder: Encoder[Any]) -> Callable[[Any], NDArray[np.float32]]:
    """Return the forward of a copy with bfloat16 weights; the other modality's tower is copied with it."""
    name, module = module_of(encoder)
    half = copy.copy(encoder)
    object.__setattr__(half, name, copy.deepcopy(module).bfloat16())
    return lambda x: rows(half, _halved_inputs(x))


def _halved_inputs(x: Inputs) -> Inputs:
    if isinstance(x, Tensor):
        return x.bfloat16() if x.is_floating_point() else x
    return {name: t.bfloat16() if t.is_floating_point() else t for name, t in x.items()}
