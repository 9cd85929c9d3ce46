"""Pictures with a coloured square in a corner: a feature of which we set what it predicts and how well it is seen."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from diptych.core import DataError, Samples, UsageError

VERSION = 1
"""Part of the content keys: another number where the square changes."""
COLOURS = {-1: (240, 140, 20), 1: (20, 110, 240)}
"""Side of the feature -> colour of the square: orange and blue."""
SIDE = 0.25
"""Side of the square as a share of the picture's smaller side."""


@dataclass(frozen=True)
class Marked:
    """Pictures with a square whose colour says which side of the feature they are on.

    The square stands in the upper left corner of the picture's largest centred square, which a centre crop keeps.

    Args:
        samples: N pictures.
        sides: N numbers -1 or +1.
        opacity: how well the square is seen, in [0, 1]; 0: not at all.

    Raises:
        UsageError: the opacity is outside its range.
        DataError: sides are not -1 or +1, or not one per picture.

    Example:
        >>> from diptych.data.samples import as_samples
        >>> grey = as_samples([Image.new("RGB", (8, 8), (100, 100, 100))])
        >>> Marked(grey, (1,), 1.0)[0].getpixel((0, 0)), Marked(grey, (1,), 0.0)[0].getpixel((0, 0))
        ((20, 110, 240), (100, 100, 100))
    """

    samples: Samples[Any]
    sides: Sequence[int]
    opacity: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.opacity <= 1:
            raise UsageError(f"opacity must be in [0, 1], got {self.opacity}.")
        if len(self.sides) != len(self.samples) or any(s not in COLOURS for s in self.sides):
            raise DataError(f"Sides must be -1 or +1, one for each of {len(self.samples)} pictures.")

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int, /) -> Image.Image:
        out: Image.Image = self.samples[index].convert("RGB")
        smaller = min(out.size)
        left, top, side = (out.width - smaller) // 2, (out.height - smaller) // 2, max(1, round(SIDE * smaller))
        box = (left, top, left + side, top + side)
        patch = Image.new("RGB", (side, side), COLOURS[int(self.sides[index])])
        out.paste(Image.blend(out.crop(box), patch, self.opacity), box)
        return out

    def key(self, index: int, /) -> str:
        """Return the hash of the picture's key, the side and the opacity."""
        mark = f"{self.samples.key(index)}/marker/{int(self.sides[index])}/{self.opacity:g}/{VERSION}"
        return hashlib.sha256(mark.encode()).hexdigest()

    def name(self, index: int, /) -> str:
        """Return the picture's name with the colour of its square."""
        return f"{self.samples.name(index)} ({'blue' if self.sides[index] > 0 else 'orange'} square)"
