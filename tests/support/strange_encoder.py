"""An image encoder whose vectors are drawn by the picture's bytes: no two pictures are alike for it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class StrangeEncoder:
    fingerprint: str = "strange"
    modality: str = "image"
    dim: int = 32
    size: int | None = 8

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        seeds = [zlib.crc32(item.tobytes()) for item in items]
        rows = [np.random.default_rng(s).standard_normal(self.dim) for s in seeds]
        return torch.from_numpy(np.stack(rows).astype(np.float32))

    def encode(self, x: Any, /) -> Tensor:
        return x.clone()
