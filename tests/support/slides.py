"""A small pyramid TIFF: glass with a block of tissue, whose squares differ in colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

SIDE = 64
"""Of a square, in pixels."""
COLOURS = ((200, 60, 60), (60, 190, 70), (60, 80, 200), (200, 190, 60), (220, 120, 170))


def slide_pixels(rows: int = 6, columns: int = 8) -> NDArray[np.uint8]:
    """Return (rows * SIDE, columns * SIDE, 3) pixels; the outer squares are glass."""
    grid = np.full((rows, columns, 3), 244, np.uint8)
    for y in range(1, rows - 1):
        for x in range(1, columns - 1):
            grid[y, x] = COLOURS[(x + y) % 2 if (x, y) != (2, 2) else 4]
    pixels = grid.repeat(SIDE, 0).repeat(SIDE, 1).astype(np.int16)
    noise = np.random.default_rng(0).integers(-6, 7, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def write_slide(path: Path, pixels: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Write a tiled pyramid of three levels, and return the pixels of the first."""
    tifffile = pytest.importorskip("tifffile", reason="tifffile writes the slide")
    pytest.importorskip("tiffslide", reason="tiffslide reads slides")
    pixels = slide_pixels() if pixels is None else pixels
    with tifffile.TiffWriter(path) as writer:
        about = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib"}
        writer.write(pixels, subifds=0, **about)
        for step in (2, 4):
            writer.write(pixels[::step, ::step], subfiletype=1, **about)
    return pixels
