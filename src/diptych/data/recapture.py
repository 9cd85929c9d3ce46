"""Simulated recaptures of photos, from a screen or a print, as in a presentation attack.

They replace data sets of real attacks, whose licences forbid copies. The random draw is fixed by the content key, so
the same photo gives the same bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from diptych.core import Samples

VERSION = "1"
"""Version of the functions below, a part of the content keys."""


def screen(pixels: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return (H, W, 3) values in [0, 1] with moire: under a rotated grid of red, green and blue stripes."""
    height, width = pixels.shape[:2]
    angle, period = rng.uniform(-0.15, 0.15), rng.uniform(2.2, 3.5)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    phase = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period
    gain = np.stack([1 + 0.35 * np.sin(phase + 2 * np.pi * k / 3) for k in range(3)], axis=-1)
    return np.asarray(np.clip(pixels ** rng.uniform(0.75, 1.3) * gain, 0, 1), dtype=np.float32)


def printed(pixels: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return (H, W, 3) values in [0, 1] as halftone dots of dark grey ink on off-white paper."""
    height, width = pixels.shape[:2]
    angle, period = rng.uniform(0.2, 0.8), rng.uniform(4, 6)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    a, b = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    dots = 0.5 + 0.25 * (np.sin(2 * np.pi * a / period) + np.sin(2 * np.pi * b / period))
    inked = 0.5 * pixels + 0.5 * (pixels > dots[..., None])
    return np.asarray(0.12 + 0.76 * inked, dtype=np.float32)


def recapture(image: Image.Image, seed: int) -> Image.Image:
    """Return a simulated photo of a photo, from a screen or a print at even odds, slightly blurred."""
    rng = np.random.default_rng(seed)
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32) / np.float32(255)
    recaptured = screen(pixels, rng) if rng.random() < 0.5 else printed(pixels, rng)
    shown = Image.fromarray((255 * recaptured).round().astype(np.uint8))
    return shown.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 0.9))))


@dataclass(frozen=True)
class Recaptured:
    """Recaptured photos, as samples with keys of their own."""

    photos: Samples[Any]

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int, /) -> Image.Image:
        return recapture(self.photos[index], int(self.key(index)[:8], 16))

    def key(self, index: int, /) -> str:
        """Return the hash of the original's key and of this recipe's version."""
        return hashlib.sha256(f"recaptured/{VERSION}/{self.photos.key(index)}".encode()).hexdigest()

    def name(self, index: int, /) -> str:
        """Return the original's name with a suffix."""
        return f"{self.photos.name(index)} (recaptured)"
