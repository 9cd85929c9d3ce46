"""Visual factors, applied to the pictures at hand: each changes one thing that the class does not depend on.

The names are those of ImageNet-X where it has the factor. The strengths are ours, and fixed: a person still knows what
is on nearly all pictures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from diptych.core import Samples, UsageError

VERSION = 1
"""Part of the content keys: another number where a factor changes."""


def _grey(image: Image.Image) -> tuple[int, ...]:
    """Return the mean colour."""
    return tuple(int(v) for v in np.asarray(image).reshape(-1, 3).mean(0).round())


def _smaller(image: Image.Image, coin: int) -> Image.Image:
    out = Image.new("RGB", image.size, _grey(image))
    w, h = max(1, image.width // 2), max(1, image.height // 2)
    out.paste(image.resize((w, h), Image.Resampling.BICUBIC), ((image.width - w) // 2, (image.height - h) // 2))
    return out


def _larger(image: Image.Image, coin: int) -> Image.Image:
    w, h = image.width // 4, image.height // 4
    box = (w, h, max(w + 1, image.width - w), max(h + 1, image.height - h))
    return image.crop(box).resize(image.size, Image.Resampling.BICUBIC)


def _partial(image: Image.Image, coin: int) -> Image.Image:
    out, half = image.copy(), image.width // 2
    out.paste(_grey(image), (0, 0, half, image.height) if coin else (half, 0, image.width, image.height))
    return out


def _blocked(image: Image.Image, coin: int) -> Image.Image:
    out = image.copy()
    w, h = image.width * 3 // 10, image.height * 3 // 10
    out.paste((127, 127, 127), (w, h, image.width - w, image.height - h))
    return out


def _hue(image: Image.Image, coin: int) -> Image.Image:
    hsv = np.array(image.convert("HSV"))
    hsv[..., 0] += 128
    return Image.fromarray(hsv, "HSV").convert("RGB")


def _stripes(image: Image.Image, coin: int) -> Image.Image:
    x, y = np.meshgrid(np.arange(image.width), np.arange(image.height))
    period = max(2, min(image.size) // 12)
    wave = ((x + (y if coin else -y)) // period % 2 * 255).astype(np.uint8)
    return Image.blend(image, Image.fromarray(wave).convert("RGB"), 0.45)


def _turned(image: Image.Image, coin: int) -> Image.Image:
    return image.rotate(60 if coin else -60, Image.Resampling.BICUBIC, fillcolor=_grey(image))


def _drawn(image: Image.Image, coin: int) -> Image.Image:
    return ImageOps.posterize(image, 2)


FACTORS: Mapping[str, Callable[[Image.Image, int], Image.Image]] = MappingProxyType(
    {
        "pose": _turned,
        "color": _hue,
        "smaller": _smaller,
        "larger": _larger,
        "partial_view": _partial,
        "object_blocking": _blocked,
        "texture": _stripes,
        "style": _drawn,
        "darker": lambda image, coin: ImageEnhance.Brightness(image).enhance(0.3),
        "brighter": lambda image, coin: ImageEnhance.Brightness(image).enhance(2.0),
    }
)
"""Factor -> function of an RGB picture and a coin (0 or 1) that the picture's content key tosses.

- pose: turned by 60 degrees, to the side of the coin.
- color: hues turned by half the circle.
- smaller: half the side, on the mean colour. larger: the middle half of the side fills the picture.
- partial_view: one half is covered by the mean colour. object_blocking: a grey box covers the middle, 0.4 of the side.
- texture: diagonal stripes are blended in, 45 %.
- style: four levels a channel.
- darker: 0.3 of the brightness. brighter: twice the brightness, cut at white.
"""


WORDS: Mapping[str, str] = MappingProxyType(
    {
        "pose": "turned by 60 degrees", "color": "in other colours", "smaller": "at half the size",
        "larger": "seen twice as close", "partial_view": "half hidden",
        "object_blocking": "with a box before the middle", "texture": "with stripes over them",
        "style": "in few colours, like a print", "darker": "darker", "brighter": "overexposed",
    }
)  # fmt: skip
"""Factor -> how pictures under it look, as in "the same pictures, half hidden"."""


@dataclass(frozen=True)
class Altered:
    """Pictures under one visual factor, made when they are asked for.

    Args:
        factor: one of ``FACTORS``.

    Raises:
        UsageError: there is no such factor.
    """

    samples: Samples[Any]
    factor: str

    def __post_init__(self) -> None:
        if self.factor not in FACTORS:
            raise UsageError(f"There is no factor {self.factor!r}: choose from {', '.join(FACTORS)}.")

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int, /) -> Image.Image:
        image = self.samples[index].convert("RGB")
        return FACTORS[self.factor](image, int(self.samples.key(index), 16) % 2)

    def key(self, index: int, /) -> str:
        """Return the hash of the picture's key and the factor."""
        return hashlib.sha256(f"{self.samples.key(index)}/{self.factor}/{VERSION}".encode()).hexdigest()

    def name(self, index: int, /) -> str:
        """Return the picture's name with the factor."""
        return f"{self.samples.name(index)} ({self.factor.replace('_', ' ')})"
