"""The small backbone with a text tower: a random causal CLIP text transformer over hashed words."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from open_clip.transformer import TextTransformer
from torch import Tensor, nn

from diptych.backbones.towers.residual import OpenClipTextTower
from diptych.core import Inputs, Spec, Tower
from tests.support.backbone import DIM, ImageEncoder, SmallBackbone
from tests.support.towers import randomised

CONTEXT, WORDS = 32, 200
START, END = WORDS - 2, WORDS - 1


@dataclass(frozen=True)
class TowerText:
    tower: OpenClipTextTower
    fingerprint: str = "tower-text"
    modality: str = "text"
    dim: int = DIM
    size: int | None = None

    def inputs(self, items: Sequence[str], size: int | None = None) -> Tensor:
        rows = [[START, *map(word_id, text.replace(".", " .").split()), END] for text in items]
        return torch.tensor([row + [0] * (max(map(len, rows)) - len(row)) for row in rows])

    def encode(self, x: Inputs, /) -> Tensor:
        return self.tower.project(self.tower.pooled(self.tower.blocks(self.tower.start(x))))


def word_id(word: str) -> int:
    return 1 + int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big") % (START - 1)


class DeepBackbone(SmallBackbone):
    def __init__(self, seed: int = 0, score: Literal["softmax", "sigmoid"] = "softmax") -> None:
        super().__init__(seed, score)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            text = randomised(
                TextTransformer(CONTEXT, WORDS, width=24, heads=2, layers=2, output_dim=DIM, eos_id=END, pad_id=0), seed
            )
        self._module = nn.ModuleDict({"image": self._net, "text": text}).eval()
        image: Any = ImageEncoder(self._net, f"small-image-{seed}")
        self._encoders = {"image": image, "text": TowerText(OpenClipTextTower(text, "deep"))}

    @property
    def spec(self) -> Spec:
        return Spec(
            "deep",
            "small",
            "mlp",
            "random:0",
            "gelu",
            "words",
            CONTEXT,
            0,
            "argmax",
            DIM,
            super().spec.pixels,
            self._score,
        )

    def tower(self, modality: str) -> Tower:
        return self._encoders["text"].tower if modality == "text" else super().tower(modality)

    def module(self) -> nn.Module:
        return self._module
