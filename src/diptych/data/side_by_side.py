"""Two pictures side by side on one canvas, or one beside an empty half."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageOps

from diptych.core import DataError, Samples

VERSION = 1
"""Part of the content keys: another number where the canvas changes."""
GREY = (127, 127, 127)
EMPTY = -1


@dataclass(frozen=True)
class SideBySide:
    """Pictures in twos, each cut to a square, in the middle row of a square grey canvas.

    A square canvas is kept whole by a centre crop, and the size of a picture on it does not depend on what is beside.

    Args:
        samples: N pictures.
        left: M positions of the left pictures; -1 leaves the half empty.
        right: the same of the right ones.
        side: of each picture in pixels; the canvas has twice that.

    Raises:
        DataError: left and right differ in length, or a position is outside.

    Example:
        >>> from diptych.data.samples import as_samples
        >>> two = as_samples([Image.new("RGB", (9, 5), colour) for colour in ("red", "blue")])
        >>> made = SideBySide(two, (0,), (1,), side=4)[0]
        >>> made.size, made.getpixel((1, 3)), made.getpixel((6, 3)), made.getpixel((1, 0))
        ((8, 8), (255, 0, 0), (0, 0, 255), (127, 127, 127))
    """

    samples: Samples[Any]
    left: Sequence[int]
    right: Sequence[int]
    side: int = 112

    def __post_init__(self) -> None:
        n = len(self.samples)
        if len(self.left) != len(self.right) or any(not EMPTY <= i < n for i in (*self.left, *self.right)):
            raise DataError(f"Left and right must be equally many positions of {n} pictures, or {EMPTY} for none.")

    def __len__(self) -> int:
        return len(self.left)

    def __getitem__(self, index: int, /) -> Image.Image:
        canvas = Image.new("RGB", (2 * self.side, 2 * self.side), GREY)
        for place, row in enumerate((self.left[index], self.right[index])):
            if row != EMPTY:
                square = ImageOps.fit(self.samples[row].convert("RGB"), (self.side, self.side))
                canvas.paste(square, (place * self.side, self.side // 2))
        return canvas

    def key(self, index: int, /) -> str:
        """Return the hash of both keys and the size."""
        rows = (self.left[index], self.right[index])
        keys = [self.samples.key(i) if i != EMPTY else "empty" for i in rows]
        return hashlib.sha256(f"{keys}/side by side/{self.side}/{VERSION}".encode()).hexdigest()

    def name(self, index: int, /) -> str:
        """Return both names."""
        rows = (self.left[index], self.right[index])
        return " beside ".join(self.samples.name(i) if i != EMPTY else "nothing" for i in rows)
