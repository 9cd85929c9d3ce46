"""Composed photos with exact label maps: tiles of labelled photos (Mosaic-seg), and pasted cut-outs (Paste-seg).

Pixels are from photos, positions are random. A picture is fixed by (photos, recipe, seed, number).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.core import Column, DataError, Samples, Table, UsageError
from diptych.data.formats.regions import Masks
from diptych.data.labelled import LabelledData
from diptych.data.scenes.compose import generator_of

IGNORE = 255
BACKGROUND = "background"
Placed = tuple[Image.Image, NDArray[np.uint8]]


@dataclass(frozen=True)
class Mosaics:
    """Squares of g x g photos, each cut from the middle of its photo.

    Args:
        photos: N photos.
        labels: (N,) class positions, below 255.
        count: M pictures.
        side: side of a picture in pixels, a multiple of every grid.
        grids: values of g, equally likely.

    Raises:
        UsageError: a grid that does not divide the side, or no grid.
        DataError: fewer photos than the largest grid has tiles, or a label of 255 and above.
    """

    photos: Samples[Any]
    labels: NDArray[np.int64]
    count: int
    seed: int = 0
    side: int = 336
    grids: tuple[int, ...] = (2, 3, 4)

    def __post_init__(self) -> None:
        if not self.grids or min(self.grids) < 1 or any(self.side % g for g in self.grids):
            raise UsageError(f"The grids {self.grids} must divide the side of {self.side} pixels: change one of them.")
        if len(self.photos) < max(self.grids) ** 2 or max(self.labels.tolist(), default=IGNORE) >= IGNORE:
            raise DataError(
                f"A mosaic takes {max(self.grids) ** 2} photos of at most {IGNORE} classes, and there are "
                f"{len(self.photos)}: give others."
            )

    def __len__(self) -> int:
        return self.count

    def tiles(self, index: int) -> NDArray[np.int64]:
        """Return the (g, g) positions of the photos of a picture, all different."""
        rng = generator_of(self.seed, range(self.count)[index])
        g = self.grids[int(rng.integers(len(self.grids)))]
        return rng.choice(len(self.photos), g * g, replace=False).reshape(g, g)

    def __getitem__(self, index: int, /) -> Image.Image:
        tiles, canvas = self.tiles(index), Image.new("RGB", (self.side, self.side))
        size = self.side // len(tiles)
        for (row, column), n in np.ndenumerate(tiles):
            canvas.paste(
                _square(self.photos[int(n)]).resize((size, size), Image.Resampling.BICUBIC), (column * size, row * size)
            )
        return canvas

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Return the (S, S) uint8 class positions."""
        tiles = self.tiles(index)
        block = np.ones((self.side // len(tiles),) * 2, dtype=np.uint8)
        return np.kron(self.labels[tiles].astype(np.uint8), block)

    def key(self, index: int, /) -> str:
        """Return the hash of the recipe and of the photos with their positions."""
        tiles = self.tiles(index)
        return _digest("mosaic/1", self.side, len(tiles), *(self.photos.key(int(n)) for n in tiles.flat))

    def name(self, index: int, /) -> str:
        """Return the number of the picture."""
        return f"mosaic {index}"


@dataclass(frozen=True)
class CutOut:
    """All pixels of one class in a photo.

    Args:
        box: left, top, right, bottom of its bounding box in pixels.
    """

    photo: int
    label: int
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Pasted:
    """Cut-outs of photos, pasted on squares of other photos without any class.

    - A cut-out is all pixels of one class in a photo, if they fill a twentieth of the photo and half of their bounding
      box.
    - A square is the largest one of a photo without pixels of a class, if its side is a third of the photo's shorter
      side.

    Args:
        photos: N photos.
        masks: N label maps of the photos' sizes: (H, W) uint8 class positions, 255 for pixels without class.
        count: M pictures.
        side: side of a picture in pixels.
        most: largest number of cut-outs in a picture.
        sizes: least and greatest longer side of a cut-out, as a share of the picture's side.

    Raises:
        DataError: no photo has a cut-out, or none has a square; or a mask has another size than its photo (when it is
            read).
    """

    photos: Samples[Any]
    masks: Any
    count: int
    seed: int = 0
    side: int = 336
    most: int = 2
    sizes: tuple[float, float] = (0.4, 0.7)

    @cached_property
    def sources(self) -> tuple[tuple[CutOut, ...], tuple[tuple[int, int, int, int], ...]]:
        """Return the cut-outs, and (photo, left, top, side) of the squares."""
        cuts, squares = [], []
        for n in range(len(self.photos)):
            mask = np.asarray(self.masks[n])
            for k in np.unique(mask[mask != IGNORE]).tolist():
                rows, columns = np.nonzero(mask == k)
                box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
                if len(rows) >= max(mask.size / 20, (box[2] - box[0]) * (box[3] - box[1]) / 2):
                    cuts.append(CutOut(n, k, box))
            left, top, size = largest_square(mask == IGNORE)
            if size >= min(mask.shape) / 3:
                squares.append((n, left, top, size))
        if not cuts or not squares:
            raise DataError(
                f"{len(self.photos)} photos give {len(cuts)} cut-outs and {len(squares)} empty squares: pasting needs "
                f"both, give others."
            )
        return tuple(cuts), tuple(squares)

    @cached_property
    def present(self) -> tuple[int, ...]:
        """Return the classes with a cut-out. The returned masks number them from 1; 0 is background."""
        return tuple(sorted({cut.label for cut in self.sources[0]}))

    def __len__(self) -> int:
        return self.count

    def placed(self, index: int) -> tuple[tuple[int, int, int, int], list[tuple[CutOut, int, int, int, int]]]:
        """Return the background square, and each cut-out with left, top, width, height, in painting order.

        Classes are equally likely.
        """
        rng = generator_of(self.seed, range(self.count)[index])
        cuts, squares = self.sources
        below = squares[int(rng.integers(len(squares)))]
        things = []
        for _ in range(int(rng.integers(1, self.most + 1))):
            label = self.present[int(rng.integers(len(self.present)))]
            candidates = [cut for cut in cuts if cut.label == label]
            cut = candidates[int(rng.integers(len(candidates)))]
            width, height = cut.box[2] - cut.box[0], cut.box[3] - cut.box[1]
            scale = rng.uniform(*self.sizes) * self.side / max(width, height)
            w, h = max(1, round(width * scale)), max(1, round(height * scale))
            things.append((cut, int(rng.integers(self.side - w + 1)), int(rng.integers(self.side - h + 1)), w, h))
        return below, things

    def both(self, index: int) -> Placed:
        """Return a picture and its (S, S) uint8 mask."""
        (n, left, top, size), things = self.placed(index)
        canvas = (
            self.photos[n]
            .convert("RGB")
            .crop((left, top, left + size, top + size))
            .resize((self.side,) * 2, Image.Resampling.BICUBIC)
        )
        labels = np.zeros((self.side, self.side), dtype=np.uint8)
        for cut, x, y, w, h in things:
            photo, mask = self.photos[cut.photo].convert("RGB"), np.asarray(self.masks[cut.photo])
            if mask.shape != (photo.height, photo.width):
                raise DataError(
                    f"The mask of {self.photos.name(cut.photo)} has {mask.shape} pixels and the photo"
                    f" {(photo.height, photo.width)}: give one of its size."
                )
            shown = (
                Image.fromarray((mask == cut.label).astype(np.uint8) * 255)
                .crop(cut.box)
                .resize((w, h), Image.Resampling.NEAREST)
            )
            canvas.paste(photo.crop(cut.box).resize((w, h), Image.Resampling.BICUBIC), (x, y), shown)
            labels[y : y + h, x : x + w][np.asarray(shown) > 0] = 1 + self.present.index(cut.label)
        return canvas, labels

    def __getitem__(self, index: int, /) -> Image.Image:
        return self.both(index)[0]

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Return the (S, S) uint8 class positions, 0 background."""
        return self.both(index)[1]

    def key(self, index: int, /) -> str:
        """Return the hash of the recipe and of all photos with their positions, without the masks."""
        (n, *square), things = self.placed(index)
        parts = [part for cut, *box in things for part in (self.photos.key(cut.photo), cut.label, *cut.box, *box)]
        return _digest("pasted/1", self.side, self.photos.key(n), *square, *parts)

    def name(self, index: int, /) -> str:
        """Return the number of the picture."""
        return f"pasted {index}"


def mosaic_data(name: str, table: Table[Any], classes: tuple[str, ...], count: int, seed: int = 0) -> LabelledData:
    """Return mosaics of labelled photos as a test split with masks; every class keeps its position."""
    mosaics = Mosaics(table.items, table.labels(), count, seed)
    return LabelledData(name, classes, {"test": Table(mosaics, {"mask": _masks(mosaics)})})


def pasted_data(name: str, table: Table[Any], classes: tuple[str, ...], count: int, seed: int = 0) -> LabelledData:
    """Return pasted cut-outs as a test split with masks.

    Class 0 is "background", the others are the classes with a cut-out. A class "background" of the photos is pasted on,
    and not cut out.

    Raises:
        DataError: the photos have no masks.
    """
    column = table.columns.get("mask")
    if column is None:
        raise DataError(
            f"The photos of {name} have no masks, along which things are cut out: give photos with label maps."
        )
    free = classes.index(BACKGROUND) if BACKGROUND in classes else IGNORE
    masks = Masks(tuple(range(len(table))), partial(_freed, column.values, free))
    pasted = Pasted(table.items, masks, count, seed)
    return LabelledData(
        name, (BACKGROUND, *(classes[k] for k in pasted.present)), {"test": Table(pasted, {"mask": _masks(pasted)})}
    )


def largest_square(free: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Return (left, top, side) of the largest square of True pixels; side 0 where there is none.

    Of equal squares it is the topmost, then the leftmost.
    """
    height, width = free.shape
    sums = np.zeros((height + 1, width + 1), dtype=np.int64)
    sums[1:, 1:] = (~free).cumsum(0).cumsum(1)

    def corner(side: int) -> tuple[int, int] | None:
        blocked = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
        rows, columns = np.nonzero(blocked == 0)
        return (int(columns[0]), int(rows[0])) if len(rows) else None

    low, high = 0, min(height, width)
    while low < high:  # a square of side s has one of every smaller side
        middle = (low + high + 1) // 2
        low, high = (middle, high) if corner(middle) else (low, middle - 1)
    left, top = (corner(low) if low else None) or (0, 0)
    return left, top, low


def _freed(masks: Any, free: int, index: int) -> NDArray[np.uint8]:
    mask = np.asarray(masks[index])
    return np.where(mask == free, IGNORE, mask).astype(np.uint8)


def _square(photo: Image.Image) -> Image.Image:
    size = min(photo.size)
    left, top = (photo.width - size) // 2, (photo.height - size) // 2
    return photo.convert("RGB").crop((left, top, left + size, top + size))


def _masks(pictures: Mosaics | Pasted) -> Column:
    return Column("mask", Masks(tuple(range(len(pictures))), pictures.mask))


def _digest(*parts: Any) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()
