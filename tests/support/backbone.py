"""A small, quick, deterministic backbone: random ReLU features of 8 x 8 pixels, and word hashes for text."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from diptych.core import Backbone, PixelRecipe, Spec

SIDE, WIDTH, DIM = 8, 64, 16
PIXELS = PixelRecipe(size=SIDE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), resize="squash")


@dataclass(frozen=True)
class ImageEncoder:
    net: nn.Module
    fingerprint: str
    modality: str = "image"
    dim: int = DIM
    size: int | None = SIDE

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        side = size or SIDE
        pixels = []
        for item in items:
            if isinstance(item, Image.Image):
                array = np.array(item.convert("RGB").resize((side, side)), dtype=np.float32) / 255
                item = torch.from_numpy(array).permute(2, 0, 1)
            pixels.append((item - 0.5) / 0.5)
        return torch.stack(pixels)

    def encode(self, x: Any, /) -> Tensor:
        return self.net(x.flatten(1))


@dataclass(frozen=True)
class TextEncoder:
    fingerprint: str
    modality: str = "text"
    dim: int = DIM
    size: int | None = None

    def inputs(self, items: Sequence[str], size: int | None = None) -> Tensor:
        return torch.stack([_word_sum(text) for text in items])

    def encode(self, x: Any, /) -> Tensor:
        return x.clone()


def _word_sum(text: str) -> Tensor:
    rows = [np.frombuffer(hashlib.sha256(w.encode()).digest()[:DIM], dtype=np.uint8) for w in text.split()]
    return torch.from_numpy(np.sum(rows, axis=0).astype(np.float32) / 255 - 0.5 * len(rows))


class SmallBackbone(Backbone):
    def __init__(self, seed: int = 0, score: Literal["softmax", "sigmoid"] = "softmax") -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._net = nn.Sequential(nn.Linear(3 * SIDE * SIDE, WIDTH), nn.ReLU(), nn.Linear(WIDTH, DIM)).eval()
        self._score = score
        self._encoders = {"image": ImageEncoder(self._net, f"small-image-{seed}"), "text": TextEncoder("small-text")}

    @property
    def encoders(self) -> Mapping[str, Any]:
        return self._encoders

    @property
    def score(self) -> Literal["softmax", "sigmoid"]:
        return self._score

    @property
    def spec(self) -> Spec:
        return Spec("small", "small", "mlp", "random:0", "relu", "words", 77, 0, "mean", DIM, PIXELS, self._score)

    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        return torch.tensor(20.0), torch.tensor(-10.0 if self._score == "sigmoid" else 0.0)

    def module(self) -> nn.Module:
        return self._net
