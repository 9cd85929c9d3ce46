"""The backbone that knows colours, with a dense map: cells of 4 x 4 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from diptych.backbones.dense import weighted_mean
from diptych.core import Dense
from tests.support.colours import COLOURS, ColourBackbone


class ColourDense:
    strides = (4,)

    def maps(self, x: Tensor, /) -> list[Tensor]:
        return [F.avg_pool2d(x, 4)]

    def pool(self, m: Tensor, weights: Tensor | None = None, /) -> Tensor:
        return weighted_mean(m, weights)

    def project(self, pooled: Tensor, /) -> Tensor:
        return torch.cat([pooled - pooled.mean(-1, keepdim=True), 0.05 * torch.ones(*pooled.shape[:-1], 1)], dim=-1)


class DenseColours(ColourBackbone):
    def dense(self) -> Dense:
        return ColourDense()


def halves(left: str, right: str, width: int = 60, height: int = 40, share: float = 0.5) -> Image.Image:
    """A picture whose left ``share`` has one colour and whose rest has another."""
    image = Image.new("RGB", (width, height), COLOURS[right])
    image.paste(COLOURS[left], (0, 0, round(width * share), height))
    return image


def masked_folder(folder: Path) -> Path:
    """Six photos of two colours each; one class in four is never seen."""
    folder.mkdir(exist_ok=True)
    names = ("red", "green", "blue", "yellow")
    rows = ["path,mask,split"]
    for i, (left, right) in enumerate((a, b) for a in range(3) for b in range(3) if a != b):
        noise = np.random.default_rng(i).normal(0, 10, (40, 60, 3))
        picture = np.asarray(halves(names[left], names[right])) + noise
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
        Image.fromarray(
            np.where(np.arange(60) < 30, left + 1, right + 1).astype(np.uint8) * np.ones((40, 1), np.uint8)
        ).save(folder / f"{i}-mask.png")
        rows.append(f"{i}.png,{i}-mask.png,val")
    (folder / "labels.csv").write_text("\n".join(rows))
    (folder / "classes.csv").write_text("value,name\n" + "\n".join(f"{k + 1},{n}" for k, n in enumerate(names)))
    return folder
