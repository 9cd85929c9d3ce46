"""A backbone that knows colours, and folders of coloured pictures: zero-shot works, shots help, and both can fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from diptych.core import Backbone, PixelRecipe, Spec

SIDE = 8
COLOURS = {
    "red": (200, 60, 60),
    "green": (60, 190, 70),
    "blue": (60, 80, 200),
    "yellow": (200, 190, 60),
    "pink": (220, 120, 170),
}


@dataclass(frozen=True)
class ColourEncoder:
    modality: str
    size: int | None
    fingerprint: str = "colour"
    dim: int = 4

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        if self.modality == "text":
            return torch.stack([self._named(text) for text in items])
        rows = []
        for item in items:
            if isinstance(item, Image.Image):
                item = torch.from_numpy(
                    np.array(item.convert("RGB").resize((SIDE, SIDE)), dtype=np.float32) / 255
                ).permute(2, 0, 1)
            rows.append(item.mean(dim=(1, 2)))
        return torch.stack(rows)

    def encode(self, x: Any, /) -> Tensor:
        return torch.cat([x - x.mean(dim=1, keepdim=True), 0.05 * torch.ones(len(x), 1)], dim=1)

    def _named(self, text: str) -> Tensor:
        rgb = next((rgb for name, rgb in COLOURS.items() if name in text), (128, 128, 128))
        return torch.tensor(rgb, dtype=torch.float32) / 255


class ColourBackbone(Backbone):
    def __init__(self, score: str = "softmax", name: str = "colours") -> None:
        self._score, self._name = score, name

    @property
    def encoders(self) -> Mapping[str, Any]:
        return {"image": ColourEncoder("image", SIDE), "text": ColourEncoder("text", None)}

    @property
    def score(self) -> Any:
        return self._score

    @property
    def spec(self) -> Spec:
        pixels = PixelRecipe(SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), resize="squash")
        return Spec(self._name, "colours", "mean", "none", "none", "words", 77, 0, "mean", 4, pixels, self._score)

    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        return torch.tensor(10.0), torch.tensor(-5.0 if self._score == "sigmoid" else 0.0)

    def module(self) -> nn.Module:
        return nn.Identity()


def colour_pool() -> dict[str, object]:
    """A pool file of the colours: two descriptions each, and a text for each side of every pair."""
    lists = {name: [f"{name} paint", f"a warm {name}"] for name in COLOURS}
    pairs = {
        f"{a} | {b}": [{"attribute": "hue", "texts": [f"a {a} patch", f"a {b} patch"]}]
        for a, b in combinations(COLOURS, 2)
    }
    about = {"writer": "tests", "prompt": "name it", "date": "2026-11-24"}
    return {"schema": 1, "descriptions": {**about, "texts": lists}, "pairs": {**about, "texts": pairs}}


def coloured(path: Path, name: str, seed: int, noise: float = 50.0) -> Path:
    """A picture of one colour whose shade is off by ``noise``."""
    rng = np.random.default_rng([seed, *name.encode()])
    base = np.array(COLOURS[name]) + rng.normal(0, noise, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(base + rng.normal(0, 20, (12, 12, 3)), 0, 255).astype(np.uint8)).save(path)
    return path


def colour_folder(root: Path, splits: Mapping[str, int], colours: Sequence[str] = tuple(COLOURS)) -> Path:
    """Class folders: ``splits`` pictures of each colour in each split; the split "" puts class folders at the top."""
    for number, (split, count) in enumerate(splits.items()):
        for name in colours:
            for i in range(count):
                coloured(root / split / name / f"{i}.png", name, 1000 * number + i)
    return root


def pale_table(folder: Path) -> Path:
    """Write a table of 100 coloured pictures with a caption, a class and a number each; some of them are pale."""
    rng, lines = np.random.default_rng(0), ["path,caption,kind,number"]
    for i in range(100):
        name = list(COLOURS)[i % 5]
        share = 0.8 * rng.uniform(0, 1) ** 2
        rgb = (1 - share) * np.array(COLOURS[name]) + share * 128 + rng.normal(size=3)
        Image.fromarray(np.full((8, 8, 3), rgb.clip(0, 255).astype(np.uint8))).save(folder / f"{i}.png")
        lines.append(f"{i}.png,number {i}: something {name},{name},{i}")
    (folder / "photos.csv").write_text("\n".join(lines))
    return folder / "photos.csv"
