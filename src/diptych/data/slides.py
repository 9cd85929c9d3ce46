"""Whole slides (SVS, pyramid TIFF, ...) as tiles, read one by one: a slide is never in memory as a whole.

A grid of squares lies over the full resolution. A square is a tile where enough of it is tissue, which has more colour
than the glass around it, by a mask made from an overview of about 1/32 of the size. tiffslide reads the files.
"""

from __future__ import annotations

import hashlib
import math
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.core import UnreadableItem, UsageError
from diptych.core.errors import need_extra
from diptych.data.keys import hash_file

OVERVIEW = 32
"""Pixels of the full resolution for one of the mask, along a side."""
_BAND = 2**24  # pixels of a level that are read at once for the mask


@dataclass(frozen=True)
class Grid:
    """How a slide is cut.

    Args:
        side: of a tile, in pixels of the full resolution; 672 (PathGen's, at 40x).
        size: of the picture that a tile becomes, in pixels; 336 (PathGen's).
        tissue: least share of a tile that is tissue; above 0.5 (PathGen's).
    """

    side: int = 672
    size: int = 336
    tissue: float = 0.5

    def __post_init__(self) -> None:
        if min(self.side, self.size) < 1 or not 0 <= self.tissue < 1:
            raise UsageError(
                f"side and size must be at least 1 and tissue in [0, 1), not {self.side}, {self.size}, {self.tissue}."
            )


PATHGEN = Grid()
"""The grid of PathGen."""


@dataclass(frozen=True)
class Slide:
    """A slide, opened at its first use in a process."""

    path: str
    _lock: Any = field(default_factory=threading.Lock, repr=False, compare=False)

    def __reduce__(self) -> tuple[type[Slide], tuple[str]]:
        return Slide, (self.path,)

    @cached_property
    def _opened(self) -> Any:
        need_extra("slides", "Reading slides")
        import tiffslide

        try:
            slide = tiffslide.TiffSlide(self.path)
            weakref.finalize(self, slide.close)
            return slide
        except OSError as error:
            unread = UnreadableItem(self.path, f"cannot be read ({error.strerror or str(error)[:80]})")
            unread.__cause__ = error
            raise unread from None
        except Exception as error:  # parsers of damaged files raise all kinds of exceptions
            raise UnreadableItem(self.path, f"is no slide ({str(error)[:80] or type(error).__name__})") from None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the full resolution."""
        width, height = self._opened.dimensions
        return int(width), int(height)

    @property
    def micrometres(self) -> float | None:
        """Micrometres of a pixel of the full resolution, where the file says so."""
        value = self._opened.properties.get("tiffslide.mpp-x")
        return None if value is None else float(value)

    @cached_property
    def key(self) -> str:
        """SHA-256 of the file."""
        return hash_file(self.path)

    def region(self, x: int, y: int, width: int, height: int, scale: float) -> Image.Image:
        """Return a part, RGB, ``scale`` times smaller in each direction.

        Args:
            x: left border, here and below in pixels of the full resolution.
            y: upper border.
            width: of the part.
            height: of the part.
            scale: at least 1.

        Raises:
            UnreadableItem: it cannot be decoded.
        """
        slide = self._opened
        target = max(1, round(width / scale)), max(1, round(height / scale))
        try:
            with self._lock:
                level = slide.get_best_level_for_downsample(scale * 1.001)
                factor = slide.level_downsamples[level]
                wanted = max(1, round(width / factor)), max(1, round(height / factor))
                part = slide.read_region((x, y), level, wanted)
        except UnreadableItem:
            raise
        except Exception as error:  # codecs raise all kinds of exceptions on damaged bytes
            raise UnreadableItem(f"{self.path}@{x},{y}", f"damaged tile ({str(error)[:80]})") from error
        part = part.convert("RGB")
        assert isinstance(part, Image.Image)
        return part if part.size == target else part.resize(target, Image.Resampling.BOX)

    def mask(self) -> NDArray[np.bool_]:
        """Return where there is tissue, (ceil(height / 32), ceil(width / 32)), read band by band."""
        width, height = self.size
        slide = self._opened
        factor = slide.level_downsamples[slide.get_best_level_for_downsample(OVERVIEW * 1.001)]
        rows = max(1, int(_BAND * factor * factor / width) // OVERVIEW) * OVERVIEW
        bands = [np.asarray(self.region(0, y, width, min(rows, height - y), OVERVIEW)) for y in range(0, height, rows)]
        return tissue(np.concatenate(bands))

    def places(self, grid: Grid) -> list[tuple[int, int]]:
        """Return the upper left corners (x, y) of the tiles, row by row.

        Raises:
            UnreadableItem: the slide cannot be read.
        """
        (width, height), mask = self.size, self.mask()
        sums = np.pad(mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        with_tissue = []
        for y in range(0, height - grid.side + 1, grid.side):
            top, bottom = _cells(y, grid.side, mask.shape[0])
            for x in range(0, width - grid.side + 1, grid.side):
                left, right = _cells(x, grid.side, mask.shape[1])
                count = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
                if count > grid.tissue * (bottom - top) * (right - left):
                    with_tissue.append((x, y))
        return with_tissue

    def findings(self) -> tuple[str, ...]:
        """Return the lines of the .txt beside the slide: what its report found, one phrase per line; () without one."""
        beside = Path(self.path).with_suffix(".txt")
        try:
            lines = beside.read_text(encoding="utf-8-sig").splitlines()
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeDecodeError) as error:
            raise UnreadableItem(str(beside), f"cannot be read ({str(error)[:80]})") from None
        return tuple(line.strip() for line in lines if line.strip())


@dataclass(frozen=True)
class Tile:
    """One tile, which is decoded on demand.

    Args:
        x, y: upper left corner in pixels of the full resolution.
        grid: how it is cut.
    """

    slide: Slide
    x: int
    y: int
    grid: Grid

    @property
    def name(self) -> str:
        """The slide's path, "@" and the corner."""
        return f"{self.slide.path}@{self.x},{self.y}"

    @property
    def cut(self) -> Mapping[str, Any]:
        """Where it was cut: "slide", "x", "y", "side", and "micrometres" of a pixel of the full resolution."""
        about: dict[str, Any] = {"slide": self.slide.path, "x": self.x, "y": self.y, "side": self.grid.side}
        return {**about, "micrometres": self.slide.micrometres}

    def image(self) -> Image.Image:
        """Return the picture; raises UnreadableItem where it cannot be decoded."""
        side = self.grid.side
        picture = self.slide.region(self.x, self.y, side, side, max(1.0, side / self.grid.size))
        size = (self.grid.size, self.grid.size)
        return picture if picture.size == size else picture.resize(size, Image.Resampling.BICUBIC)


@dataclass(frozen=True)
class SlideTiles:
    """The tiles of one slide as Samples, decoded one by one."""

    slide: Slide
    grid: Grid = PATHGEN

    @cached_property
    def places(self) -> list[tuple[int, int]]:
        """Upper left corners; see ``Slide.places``."""
        return self.slide.places(self.grid)

    def tile(self, index: int) -> Tile:
        """Return tile ``index``."""
        return Tile(self.slide, *self.places[index], self.grid)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int, /) -> Image.Image:
        return self.tile(index).image()

    def key(self, index: int, /) -> str:
        """Return the SHA-256 of the slide's own and of where the tile is cut."""
        return hashlib.sha256(f"{self.slide.key} {self.places[index]} {self.grid}".encode()).hexdigest()

    def name(self, index: int, /) -> str:
        """Return the slide's path and the corner."""
        return self.tile(index).name


def _cells(start: int, side: int, count: int) -> tuple[int, int]:
    """Return the first cell of the mask that a tile covers, and the one behind the last; at least one."""
    first = min(start // OVERVIEW, count - 1)
    return first, max(first + 1, min(count, math.ceil((start + side) / OVERVIEW)))


LEAST, MOST = 15, 40
"""Range of the threshold on saturation, in [0, 255] (ours). A slide that is all glass, or all tissue, has no second
group for Otsu's method to find."""


def saturation(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the (H, W) saturation of (H, W, 3) RGB pixels, 255 (max - min) / max; 0 for black."""
    high = pixels.max(axis=2).astype(np.float64)
    low = pixels.min(axis=2)
    return np.asarray(np.rint(255 * (high - low) / np.maximum(high, 1)), dtype=np.uint8)


def otsu(values: NDArray[np.uint8]) -> int:
    """Return the threshold t that separates values <= t from values > t best.

        t = arg max w0 w1 (m0 - m1)^2

    w0, w1: shares of the values at most t and above
    m0, m1: their means

    Args:
        values: any number of bytes; of equal values the threshold is 0.

    Source: Otsu 1979, A threshold selection method from gray-level histograms.

    Example:
        >>> otsu(np.array([10, 12, 200, 210], np.uint8)) in range(12, 200)
        True
    """
    counts = np.bincount(values.ravel(), minlength=256).astype(np.float64)
    below, total = np.cumsum(counts), counts.sum()
    sums = np.cumsum(counts * np.arange(256))
    above = total - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return int(np.nan_to_num(between).argmax())


def tissue(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where (H, W, 3) RGB pixels show tissue, (H, W): saturation above Otsu's threshold, in [LEAST, MOST]."""
    values = saturation(pixels)
    return values > min(MOST, max(LEAST, otsu(values)))
