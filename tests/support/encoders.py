"""Encoders that count what they do; their vectors follow the batch mates only where asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diptych.core import UnreadableItem


def _bytes(text: str) -> Tensor:
    return torch.from_numpy(
        np.frombuffer(hashlib.sha256(text.encode()).digest()[:4], dtype=np.uint8).astype(np.float32)
    )


@dataclass
class Words:
    """Text encoder, D = 4: hash bytes, plus ``mates`` times the sum over the batch."""

    mates: float = 0.0
    fingerprint: str = "77" * 8
    modality: str = "text"
    dim: int = 4
    size: int | None = None
    seen: list[int] = field(default_factory=list)
    interrupt_at: int | None = None

    def inputs(self, items: Sequence[str], size: int | None = None) -> dict[str, Tensor]:
        return {"hash": torch.stack([_bytes(t) for t in items])}

    def encode(self, x: Any, /) -> Tensor:
        if len(self.seen) == self.interrupt_at:
            raise KeyboardInterrupt
        assert not torch.is_grad_enabled()
        self.seen.append(len(x["hash"]))
        return x["hash"] + self.mates * x["hash"].sum(dim=0)


@dataclass
class Means:
    """Image encoder, D = 3: the mean colour of 4 x 4 pixels."""

    fingerprint: str = "88" * 8
    modality: str = "image"
    dim: int = 3
    size: int | None = 4
    seen: list[int] = field(default_factory=list)

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        def one(item: Any) -> Tensor:
            if isinstance(item, Image.Image):
                return torch.from_numpy(np.asarray(item.resize((4, 4)), dtype=np.float32) / 255).permute(2, 0, 1)
            assert item.shape == (3, 4, 4)
            assert item.dtype == torch.float32
            return item

        return torch.stack([one(i) for i in items])

    def encode(self, x: Any, /) -> Tensor:
        self.seen.append(len(x))
        return x.mean(dim=(2, 3))


@dataclass
class Photos:
    """N pictures of one colour each; equal colours have equal keys, and negative ones cannot be read."""

    colours: Sequence[int]
    reads: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.colours)

    def __getitem__(self, index: int) -> Image.Image:
        self.reads.append(index)
        if self.colours[index] < 0:
            raise UnreadableItem(self.name(index), "truncated JPEG")
        return Image.new("RGB", (9, 7), (self.colours[index],) * 3)

    def key(self, index: int) -> str:
        return hashlib.sha256(str(self.colours[index]).encode()).hexdigest()

    def name(self, index: int) -> str:
        return f"photo-{index}.jpg"
