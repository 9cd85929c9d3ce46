"""Random views of a picture, each fixed by the picture and the number of the draw."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class Box(NamedTuple):
    """A crop of a picture in pixels, and whether it is mirrored."""

    left: int
    top: int
    width: int
    height: int
    mirrored: bool


@dataclass(frozen=True)
class ViewRecipe:
    """Random resized crop and mirror image.

    Draw number d of a picture is fixed by (content key, recipe name, d). So all seeds share one cache.

    Args:
        scale: least and greatest share of the area in a view.
        ratio: least and greatest width / height, drawn evenly in the logarithm.
        flip: probability of the mirror image.
        draws: A, views of each picture.

    Source: Tip-Adapter (ECCV 2022), section 4.1 and its released settings; the crop is torchvision's
        ``RandomResizedCrop``.
    """

    scale: tuple[float, float] = (0.5, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    draws: int = 10

    @property
    def name(self) -> str:
        """All that the pixels depend on besides picture and size; a part of every cache key."""
        low, high = self.scale
        return f"crop-{low:.6g}-{high:.6g}-ratio-{self.ratio[0]:.6g}-{self.ratio[1]:.6g}-flip-{self.flip:.6g}-bicubic"

    def box(self, width: int, height: int, key: str, draw: int) -> Box:
        """Return the crop of one draw.

        Args:
            width: width of the picture, in pixels.
            height: height of the picture, in pixels.
            key: content key of the picture.
            draw: number of the view, from 0.

        Returns:
            A box inside the picture: the first of ten tries that fits, else the largest central crop of an allowed
            ratio, as in torchvision.
        """
        seed = int.from_bytes(hashlib.sha256(f"{key}/{self.name}/{draw}".encode()).digest()[:16], "big")
        uniform = np.random.Generator(
            np.random.Philox(key=seed)
        ).random  # raw doubles only: the stream that NumPy keeps stable
        mirrored = bool(uniform() < self.flip)
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for _ in range(10):
            area = width * height * (self.scale[0] + (self.scale[1] - self.scale[0]) * uniform())
            ratio = math.exp(low + (high - low) * uniform())
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                top, left = int((height - h + 1) * uniform()), int((width - w + 1) * uniform())
                return Box(left, top, w, h, mirrored)
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        w, h = min(width, max(1, round(height * ratio))), min(height, max(1, round(width / ratio)))
        return Box((width - w) // 2, (height - h) // 2, w, h, mirrored)

    def draw(self, image: Image.Image, size: int, key: str, draw: int) -> NDArray[np.uint8]:
        """Return one view.

        Args:
            image: RGB picture of any size.
            size: side S of the view in pixels.
            key: content key of the picture.
            draw: number of the view, from 0.

        Returns:
            (S, S, 3) uint8.
        """
        box = self.box(*image.size, key, draw)
        cut = image.convert("RGB").crop((box.left, box.top, box.left + box.width, box.top + box.height))
        view = np.asarray(cut.resize((size, size), Image.Resampling.BICUBIC))
        return np.ascontiguousarray(view[:, ::-1] if box.mirrored else view)


TIP_VIEWS = ViewRecipe()
"""The ten views of Tip-Adapter, Tip-Adapter-F and GDA."""
