"""One real export of a small convolution: whether this installation can export at all."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diptych.backbones.engines.export import make
from diptych.backbones.engines.parity import Reference
from diptych.backbones.engines.runtimes.openvino import openvino_version


@dataclass(frozen=True, eq=False)
class _Convolution:
    """An image encoder of two layers; satisfies ``core.backbone.Encoder``."""

    model: nn.Module = field(
        default_factory=lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)
        )
    )
    modality: str = "image"
    dim: int = 4
    size: int | None = 16
    fingerprint: str = "0" * 16

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        """Return (B, 3, 16, 16) pixels."""
        rows = [np.asarray(item.convert("RGB").resize((16, 16)), dtype=np.float32) / 255 for item in items]
        return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2)

    def encode(self, x: Any, /) -> Tensor:
        """Return (B, 4) vectors."""
        return self.model(x)


def exported() -> Mapping[str, str]:
    """Export in a temporary folder, run in every runtime that is installed, and compare with torch.

    Returns:
        Name of the runtime -> why it does not work here, "" where it does.
    """
    runtimes = ("onnxruntime", *(("openvino",) if openvino_version() else ()))
    reference = Reference(_Convolution())
    with tempfile.TemporaryDirectory() as folder:
        return {r: make(reference, Path(folder) / r, r, "fp32").reason for r in runtimes}
