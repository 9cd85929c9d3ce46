"""The small backbone with both towers: random ViT and text transformer of open_clip, which can be rebuilt."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from open_clip.transformer import TextTransformer, VisionTransformer
from PIL import Image
from torch import Tensor, nn

from diptych.backbones.towers.residual import OpenClipImageTower, OpenClipTextTower
from diptych.core import Backbone, Inputs, PixelRecipe, Spec, Tower
from tests.support.backbone import DIM
from tests.support.deep_backbone import CONTEXT, END, WORDS, TowerText
from tests.support.towers import randomised

SIDE, PATCH = 16, 4
PIXELS = PixelRecipe(SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), resize="squash")


@dataclass(frozen=True)
class ViTImage:
    tower: OpenClipImageTower
    fingerprint: str
    modality: str = "image"
    dim: int = DIM
    size: int | None = SIDE

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        pixels = []
        for item in items:
            if isinstance(item, Image.Image):
                array = np.array(item.convert("RGB").resize((SIDE, SIDE)), dtype=np.float32) / 255
                item = torch.from_numpy(array).permute(2, 0, 1)
            pixels.append((item - 0.5) / 0.5)
        return torch.stack(pixels)

    def encode(self, x: Inputs, /) -> Tensor:
        return self.tower.project(self.tower.pooled(self.tower.blocks(self.tower.start(x))))


class VisualBackbone(Backbone):
    def __init__(
        self, seed: int = 0, score: Literal["softmax", "sigmoid"] = "softmax", module: nn.Module | None = None
    ) -> None:
        if module is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                image = randomised(VisionTransformer(SIDE, PATCH, 24, 2, 2, 2.0, output_dim=DIM), seed)
                text = randomised(
                    TextTransformer(CONTEXT, WORDS, width=24, heads=2, layers=2, output_dim=DIM, eos_id=END, pad_id=0),
                    seed,
                )
            module = nn.ModuleDict({"image": image, "text": text})
        self._module: Any = module.eval()
        self._score = score
        digest = hashlib.sha256(
            b"".join(t.detach().cpu().numpy().tobytes() for t in self._module.state_dict().values())
        ).hexdigest()[:8]
        self._encoders = {
            "image": ViTImage(OpenClipImageTower(self._module["image"], "visual"), f"vit-{digest}"),
            "text": TowerText(OpenClipTextTower(self._module["text"], "visual")),
        }

    @property
    def encoders(self) -> dict[str, Any]:
        return self._encoders

    @property
    def score(self) -> Literal["softmax", "sigmoid"]:
        return self._score

    @property
    def spec(self) -> Spec:
        return Spec(
            "visual", "small", "vit", "random:0", "gelu", "words", CONTEXT, 0, "argmax", DIM, PIXELS, self._score
        )

    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        return torch.tensor(20.0), torch.tensor(-10.0 if self._score == "sigmoid" else 0.0)

    def tower(self, modality: str) -> Tower:
        return self._encoders[modality].tower

    def module(self) -> nn.Module:
        return self._module

    def rebuild(self, module: nn.Module, spec: Spec) -> VisualBackbone:
        return VisualBackbone(score=self._score, module=module)

    def twin(self) -> VisualBackbone:
        """Return a copy with weights of its own."""
        return VisualBackbone(score=self._score, module=copy.deepcopy(self._module))
