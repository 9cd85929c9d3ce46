"""Seeded samples of other kinds, in memory: clips, point clouds, stars, records, and a stream of pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.core import Column, Evidence, Samples, Table
from diptych.data.formats.lightcurves import LightCurve
from diptych.data.records.records import Records
from diptych.data.shapes import Shape, Shapes
from diptych.data.stars import Star, Stars
from diptych.testing.pictures import NAMES, Pictures, picture

Clip = tuple[Image.Image, ...]
SIDES = ((1.0, 1.0, 1.0), (0.1, 1.0, 0.1), (1.0, 0.1, 1.0))
"""Sides of a box, a stick and a plate."""
COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200))
GRID = np.linspace(4000, 5000, 256)
"""Wavelengths of a spectrum, in angstrom."""
SENTENCES = ("a red fox", "two oak trees", "a tea cup on a table", "a sea horse")
"""What the pictures of a stream, and of an audit, show."""
PHOTOS = Pictures(tuple(picture(i % 4, i) for i in range(24)))


@dataclass(frozen=True)
class Clips:
    """Clips as samples.

    Args:
        clips: the frames of each.
    """

    clips: tuple[Clip, ...]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Clip:
        return self.clips[index]

    def key(self, index: int) -> str:
        """Return the SHA-256 of the pixels."""
        return hashlib.sha256(b"".join(f.tobytes() for f in self.clips[index])).hexdigest()

    def name(self, index: int) -> str:
        """Return "clip" and its number."""
        return f"clip {index}"


def clip(label: int, seed: int, frames: int = 4) -> Clip:
    """Return a clip of a picture of a class, over which a bright square moves."""
    base = np.asarray(picture(label, seed))
    moved = []
    for t in range(frames):
        frame = base.copy()
        frame[4:8, 2 * t : 2 * t + 3] = 255
        moved.append(Image.fromarray(frame))
    return tuple(moved)


def moving(labels: Sequence[int], seed: int, frames: int = 4) -> Table[Any]:
    """Return a table with one clip per label, and its caption."""
    clips = Clips(tuple(clip(k, 1000 * seed + i, frames) for i, k in enumerate(labels)))
    values = np.asarray(labels, dtype=np.int64)
    captions = [f"a photo of a {NAMES[k]}." for k in labels]
    return Table(clips, {"label": Column("label", values), "captions": Column("captions", captions)})


def clip_task(classes: int = 3, shots: int = 4) -> tuple[Evidence[Any], Table[Any]]:
    """Return evidence of clips (train, auxiliary), and a test table."""
    train, bridge, test = (moving(list(range(classes)) * shots, seed) for seed in (1, 2, 3))
    return Evidence(train=train, auxiliary=bridge), test


def shape(kind: int, seed: int, points: int = 60) -> Shape:
    """Return a cloud in a box, a stick or a plate, with a picture of its colour."""
    rng = np.random.default_rng([kind, seed])
    cloud = (rng.uniform(-1, 1, (points, 3)) * SIDES[kind]).astype(np.float32)
    return Shape(cloud, Image.new("RGB", (16, 16), COLOURS[kind]), (20.0, 30.0))


def shapes(kinds: list[int], seed: int) -> Shapes:
    """Return one shape a kind."""
    drawn = [shape(k, 1000 * seed + i) for i, k in enumerate(kinds)]
    return Shapes(tuple(f"shape {seed}/{i}" for i in range(len(drawn))), drawn)


def clouds(kinds: list[int], seed: int) -> Table[Any]:
    """Return a table with one shape a kind, and its caption."""
    captions = [f"image of a {NAMES[k]}." for k in kinds]
    columns = {"label": Column("label", np.asarray(kinds, dtype=np.int64)), "captions": Column("captions", captions)}
    return Table(shapes(kinds, seed), columns)


def cloud_task(kinds: int = 3, shots: int = 3) -> tuple[Evidence[Any], Table[Any]]:
    """Return evidence of clouds (train, unlabelled), and a test table."""
    train, pairs, test = (clouds(list(range(kinds)) * shots, seed) for seed in (1, 2, 3))
    return Evidence(train=train, unlabelled=pairs.items), test


def star(seed: int, points: int = 30) -> Star:
    """Return a star of which curve, spectrum and metadata depend on two hidden numbers."""
    rng = np.random.default_rng([3, seed])
    hidden = rng.uniform(0.5, 3.0, 2)
    time = np.sort(rng.uniform(0, 10, points))
    value = 12 + hidden[0] * (time / 10) ** hidden[1] + rng.normal(0, 0.02, points)
    curve = LightCurve(time, value, np.full(points, 0.05))
    line = 1 + hidden[0] * np.exp(-((GRID - 4000 - 300 * hidden[1]) ** 2) / 5000) + rng.normal(0, 0.02, len(GRID))
    return Star(curve, LightCurve(GRID, line, np.full(len(GRID), 0.02)), np.array([*hidden, rng.normal(), np.nan]))


def stars(count: int, first: int = 0) -> Stars:
    """Return stars of the numbers from ``first`` on."""
    numbers = range(first, first + count)
    return Stars(tuple(f"star {i}" for i in numbers), [star(i) for i in numbers])


def star_task() -> tuple[Evidence[Any], dict[str, Samples[Any]]]:
    """Return evidence of stars (unlabelled, val), and test stars for each modality."""
    modalities = ("photometry", "spectra", "metadata")
    return Evidence(unlabelled=stars(8), val=Table(stars(4, 50))), dict.fromkeys(modalities, stars(4, 100))


def records(entities: int = 6, each: int = 3, seed: int = 0, noise: float = 20.0) -> tuple[Records, NDArray[np.int64]]:
    """Return records of entities, of each some that are alike in picture and text, and the entity of each record."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, size=(entities, 8, 8, 3))
    images, texts, owners = [], [], []
    for e in range(entities):
        for i in range(each):
            pixels = np.clip(colours[e] + noise * rng.standard_normal((8, 8, 3)), 0, 255).astype(np.uint8)
            images.append(Image.fromarray(pixels))
            texts.append(f"thing{e} seen{rng.integers(100)} copy{i}")
            owners.append(e)
    n = len(owners)
    numbered = Records(tuple(f"r{i}" for i in range(n)), Pictures(tuple(images)), tuple(range(n)), tuple(texts))
    return numbered, np.array(owners)


@dataclass(frozen=True)
class Pair:
    """An item of a stream: a picture and its text.

    Args:
        number: its number.
    """

    number: int

    def image(self) -> Image.Image:
        """Return the picture."""
        return PHOTOS[self.number]

    def text(self) -> str:
        """Return the text."""
        return SENTENCES[self.number % 4]


@dataclass(frozen=True)
class Pairs:
    """A stream of 24 pairs.

    Args:
        start: number of the first one.
    """

    start: int = 0

    item: ClassVar[type[Any]] = Pair

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return ((i, type(self).item(i)) for i in range(self.start, len(PHOTOS)))

    def seek(self, position: int) -> Self:
        """Return the stream from a position on."""
        return replace(self, start=position)


def captioned() -> Table[Any]:
    """Return 24 pictures with a caption, and who wrote it."""
    texts = Column("captions", tuple((SENTENCES[i % 4],) for i in range(len(PHOTOS))))
    return Table(PHOTOS, {"captions": texts, "user": Column("user", ("anna", "ben") * (len(PHOTOS) // 2))})
