"""What the panels of the gallery have in common: a panel, what they are made with, and sheets of pictures with words
below.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from diptych.core import Backbone, ClassNames, Evidence, Kit, Run, Samples, Segmenter, Table, UnreadableItem
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.tasks.label_maps.question import question
from diptych.tasks.label_maps.segmented import Segmented
from diptych.tasks.segment import segmented

INK, DIM, RED, GREEN = (27, 27, 26), (99, 98, 93), (200, 0, 0), (0, 140, 60)
SIDE = 220


@dataclass(frozen=True)
class Panel:
    """One picture of the page.

    Args:
        file: its name.
        title: heading.
        command: what a person types for the same.
        words: what is to be seen, true or not.
        picture: the picture, or the text of an SVG.
    """

    file: str
    title: str
    command: str
    words: str
    picture: Image.Image | str


def refuse_one_name(maps: Iterable[Iterable[float]], words: str) -> None:
    """Refuse a panel whose maps have one name over each whole photo, unless its words say that this is a failure.

    Args:
        maps: for each map the shares of its names.
        words: of the panel.
    """
    if "failure" not in words and not any(sum(share >= 0.01 for share in shares) >= 2 for shares in maps):
        raise ValueError("every map has one name over the whole photo: say that it is a failure, or show another one")


@dataclass(frozen=True)
class Studio:
    """What all panels are made with: three models, of which ``maps`` is that of label maps."""

    lite: Backbone
    maps: Backbone
    tiny: Backbone
    run: Run
    data: Path

    def photos(self) -> LabelledData:
        """Return the photos that ship."""
        return open_data("demo:photos")

    def segmented(
        self,
        photos: Samples[Any],
        names: Sequence[str] | ClassNames,
        method: Segmenter,
        *,
        train: Table[Any] | None = None,
        things: Sequence[str] = (),
        seed: int = 0,
    ) -> Iterable[Segmented | UnreadableItem]:
        """Yield the label map of each photo by the model of label maps."""
        query, run = question(names, method, things=things), replace(self.run, seed=seed)
        fitted = method.fit(Kit.of(self.maps), query.fit_classes, Evidence(train=train), run)
        return segmented(fitted, photos, query, run)


def font(size: int) -> Any:
    """Return the letters of all sheets."""
    return ImageFont.load_default(size)


def sheet(
    pictures: Sequence[Image.Image],
    lines: Sequence[Sequence[tuple[str, tuple[int, int, int]]]],
    columns: int,
    side: int = SIDE,
    height: int = 0,
) -> Any:
    """Return pictures in rows, each fitted to a square, or to ``side`` x ``height``, with lines of text below."""
    depth, height = max(len(lines_of) for lines_of in lines), height or side
    cell = height + 18 * depth + 14
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (columns * (side + 10), rows * cell), "white")
    draw = ImageDraw.Draw(page)
    for i, (picture, lines_of) in enumerate(zip(pictures, lines, strict=True)):
        x, y = i % columns * (side + 10), i // columns * cell
        small = picture.convert("RGB")
        small.thumbnail((side, height))
        page.paste(small, (x + (side - small.width) // 2, y + (height - small.height) // 2))
        for k, (text, colour) in enumerate(lines_of):
            draw.text((x + 4, y + height + 4 + 18 * k), fitted(text, side - 6), fill=colour, font=font(14))
    return page


def fitted(text: str, width: int, size: int = 14) -> str:
    """Return the text, or its beginning and an ellipsis."""
    kept = text
    while kept and font(size).getlength(kept if kept == text else f"{kept}...") > width:
        kept = kept[:-1]
    return kept if kept == text else f"{kept}..."


def wrapped(text: str, width: int = 28) -> list[str]:
    """Return the text in lines of so many letters."""
    import textwrap

    return textwrap.wrap(text, width) or [""]


@dataclass(frozen=True)
class One:
    """One clip as samples."""

    frames: tuple[Image.Image, ...]

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int, /) -> Any:
        return self.frames

    def key(self, index: int, /) -> str:
        """Return a hash of the pixels."""
        return hashlib.sha256(b"".join(f.tobytes() for f in self.frames)).hexdigest()

    def name(self, index: int, /) -> str:
        """Return what it is."""
        return "clip"
