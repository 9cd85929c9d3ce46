"""Runners in torch: with bfloat16 weights, or in float32 where the requested precision does not keep its bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import Encoder


class Bf16Runner:
    """The encoder in torch with its weights in bfloat16; copied when first needed.

    Args:
        encoder: float32.
    """

    precision, name = "bf16", "torch, bf16 weights"
    facts: Mapping[str, str] = {"engine": "torch bf16 weights"}
    needs_torch = True

    def __init__(self, encoder: Encoder[Any]) -> None:
        self._encoder = encoder

    @cached_property
    def _forward(self) -> Callable[[Any], NDArray[np.float32]]:
        from diptych.backbones.engines.copies import in_bf16, only_pooled

        return in_bf16(only_pooled(self._encoder))

    def __call__(self, x: Any, /) -> NDArray[np.float32]:
        """Return (B, D) float32 vectors of an encoder's inputs."""
        return self._forward(x)


class TorchRunner:
    """The encoder in torch, float32, where a lower precision was requested.

    Args:
        encoder: float32.
    """

    precision, name = "fp32", "torch, fp32"
    facts: Mapping[str, str] = {}
    needs_torch = True

    def __init__(self, encoder: Encoder[Any]) -> None:
        self._encoder = encoder

    def __call__(self, x: Any, /) -> NDArray[np.float32]:
        """Return (B, D) float32 vectors of an encoder's inputs."""
        from diptych.backbones.engines.parity import rows

        return rows(self._encoder, x)
