"""Strong random views for self-training, each fixed by (content key, draw)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from diptych.data.views import ViewRecipe

Uniform = Callable[[], float]


@dataclass(frozen=True)
class StrongRecipe(ViewRecipe):
    """The strong view of LaFTer and NoLA.

    After crop and mirror: colour jitter, perspective, colour jitter again, Gaussian blur.

    Args:
        scale, ratio, flip, draws: see ``ViewRecipe``.
        jitter: probability of each colour jitter (brightness, contrast, saturation within 40 %, hue within a tenth of
            the circle).
        tilt: probability of the perspective, whose corners move by up to a tenth of the side.
        blur: least and greatest standard deviation, in pixels.

    Source: the augmentations of NoLA (arXiv 2411.19346), as in its code.
    """

    scale: tuple[float, float] = (0.2, 1.0)
    jitter: float = 0.8
    tilt: float = 0.5
    blur: tuple[float, float] = (0.1, 2.0)

    @property
    def name(self) -> str:
        """All that the pixels depend on besides picture and size."""
        return f"strong-{super().name}-{self.jitter:.6g}-{self.tilt:.6g}-{self.blur[0]:.6g}-{self.blur[1]:.6g}"

    def draw(self, image: Image.Image, size: int, key: str, draw: int) -> NDArray[np.uint8]:
        """Return one view, (S, S, 3) uint8; arguments as for ``ViewRecipe.draw``."""
        seed = int.from_bytes(hashlib.sha256(f"{key}/{self.name}/{draw}/colour".encode()).digest()[:16], "big")
        uniform: Uniform = np.random.Generator(np.random.Philox(key=seed)).random
        view = Image.fromarray(super().draw(image, size, key, draw))
        view = _jittered(view, uniform) if uniform() < self.jitter else view
        view = _tilted(view, uniform) if uniform() < self.tilt else view
        view = _jittered(view, uniform) if uniform() < self.jitter else view
        view = view.filter(ImageFilter.GaussianBlur(self.blur[0] + (self.blur[1] - self.blur[0]) * uniform()))
        return np.array(view)  # a writable copy, since tensors share its memory


STRONG_VIEWS = StrongRecipe()


def _jittered(image: Image.Image, uniform: Uniform) -> Image.Image:
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(0.6 + 0.8 * uniform())
    hsv = np.array(image.convert("HSV"))
    hsv[..., 0] = (hsv[..., 0].astype(np.int64) + round((uniform() - 0.5) * 0.2 * 256)) % 256
    return Image.fromarray(hsv, "HSV").convert("RGB")


def _tilted(image: Image.Image, uniform: Uniform) -> Image.Image:
    """Move each corner inwards by up to a tenth of the side."""
    side = image.width - 1
    corners = [(0, 0), (side, 0), (side, side), (0, side)]
    ends = [(abs(x - uniform() * 0.1 * side), abs(y - uniform() * 0.1 * side)) for x, y in corners]
    rows, values = [], []
    for (x, y), (u, v) in zip(ends, corners, strict=True):  # the picture's corner (u, v) appears at (x, y)
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    solved = np.linalg.solve(np.array(rows, dtype=np.float64), np.array(values, dtype=np.float64))
    return image.transform(image.size, Image.Transform.PERSPECTIVE, solved.tolist(), Image.Resampling.BILINEAR)
