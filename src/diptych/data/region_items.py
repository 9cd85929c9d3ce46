"""Regions of pictures as samples: every verb that takes photos takes boxes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.core import Samples, Table, UnreadableItem
from diptych.data.formats.regions import Boxes
from diptych.data.joined import Joined


@dataclass(frozen=True)
class Region:
    """A place in a picture.

    Args:
        corners: (4,) x0 y0 x1 y1 in pixels of it.
    """

    image: Image.Image
    corners: NDArray[np.float32]

    @classmethod
    def whole(cls, image: Image.Image) -> Region:
        """Return a picture as one region."""
        return cls(image, np.array([0, 0, *image.size], dtype=np.float32))

    def crop(self) -> Image.Image:
        """Return the box, widened to whole pixels, at least one each way.

        Example:
            >>> Region(Image.new("RGB", (9, 9)), np.float32([1.5, 2.0, 4.2, 2.0])).crop().size
            (4, 1)
        """
        low, high = np.floor(self.corners[:2]).clip(0).astype(int), np.ceil(self.corners[2:]).astype(int)
        return self.image.crop((*low.tolist(), *np.maximum(low + 1, high).tolist()))


@dataclass(frozen=True)
class Regions:
    """N regions of M pictures as samples: their crops, or ``Region`` with the whole picture.

    Args:
        images: M pictures.
        owner: (N,) position of each region's picture.
        corners: (N, 4) x0 y0 x1 y1 in pixels of it.
        phrases: (N,) what each region shows, as its table says.
        cut: whether an item is the crop; False: a ``Region``.
    """

    images: Samples[Any]
    owner: tuple[int, ...]
    corners: NDArray[np.float32]
    phrases: tuple[str, ...]
    cut: bool = True

    @classmethod
    def of(cls, tables: Sequence[Table[Any]], *, cut: bool = True, crowds: bool = True) -> Regions:
        """Return the regions of tables with the columns "boxes" and "phrases", in order.

        Args:
            tables: pictures; several are joined.
            cut: see the class.
            crowds: whether boxes that stand for a group of objects are among them.
        """
        owner, corners, phrases, start = list[int](), [np.zeros((0, 4), np.float32)], list[str](), 0
        for table in tables:
            for i, (boxes, texts) in enumerate(
                zip(table.columns["boxes"].values, table.columns["phrases"].values, strict=True)
            ):
                wanted = _wanted(boxes, crowds)
                owner += [start + i] * len(wanted)
                corners.append(boxes.corners[wanted])
                phrases += [texts[k] for k in wanted]
            start += len(table)
        images = tables[0].items if len(tables) == 1 else Joined(tuple(t.items for t in tables))
        return cls(images, tuple(owner), np.concatenate(corners).astype(np.float32), tuple(phrases), cut)

    def __len__(self) -> int:
        return len(self.owner)

    def __getitem__(self, index: int, /) -> Any:
        region = Region(self.images[self.owner[index]].convert("RGB"), self.corners[index])
        return region.crop() if self.cut else region

    def key(self, index: int, /) -> str:
        """Return the SHA-256 of the picture's key and the box."""
        box = self.corners[index].astype("<f4").tobytes().hex()
        return hashlib.sha256(f"{self.images.key(self.owner[index])}/{box}".encode()).hexdigest()

    def name(self, index: int, /) -> str:
        """Return the picture's name and the box in tenths of pixels: "photo.jpg[10,20,30.5,40]"."""
        box = ",".join(f"{round(v, 1):g}" for v in self.corners[index].tolist())
        return f"{self.images.name(self.owner[index])}[{box}]"


def pictures_of(failed: Sequence[UnreadableItem]) -> tuple[UnreadableItem, ...]:
    """Return one error for each picture whose regions cannot be read."""
    broken = {e.name.rpartition("[")[0]: e.reason for e in failed}
    return tuple(UnreadableItem(name, reason) for name, reason in broken.items())


def _wanted(boxes: Boxes, crowds: bool) -> list[int]:
    return [k for k in range(len(boxes.corners)) if crowds or not boxes.crowd[k]]
