"""The backbone that knows colours, with a dense map: cells of 4 x 4 pixels."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from diptych.backbones.dense import weighted_mean
from diptych.core.backbone import Dense
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
