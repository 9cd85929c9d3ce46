"""Slides, one or a folder of them, as a stream of tiles."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from diptych.core import UnreadableItem, UsageError
from diptych.data.format import Format, Request, files_below
from diptych.data.formats.outcomes import ShardStream
from diptych.data.slides import PATHGEN, Grid, Slide, SlideTiles, Tile

ENDINGS = (".svs", ".tif", ".tiff", ".scn", ".bif", ".ndpi")
"""File endings of slides."""


@dataclass(frozen=True)
class SlideStream(ShardStream[Tile]):
    """The tiles of slides, see ``open_slides``, with one slide open; a slide that cannot be read is one error."""

    grid: Grid = PATHGEN

    def items(self, shard: str, skip: int) -> Generator[tuple[int, Tile | UnreadableItem], None, None]:
        """Yield (number, tile or error) of a slide."""
        tiles = SlideTiles(Slide(shard), self.grid)
        try:
            count = len(tiles)
        except UnreadableItem as error:
            yield 0, error
            return
        for place in range(skip, count):
            yield place, tiles.tile(place)


def open_slides(path: str | os.PathLike[str], grid: Grid | None = None) -> SlideStream:
    """Open a slide, or all slides below a folder, in the order of their names.

    Raises:
        UsageError: there are none.
    """
    shards = tuple(files_below(Path(path), ENDINGS))
    if not shards:
        raise UsageError(f"There are no slides below {path}: give a folder of {', '.join(ENDINGS)}, or one of them.")
    return SlideStream(shards, grid=grid or PATHGEN)


def _matches(path: Path, request: Request) -> bool:
    return next(files_below(path, ENDINGS), None) is not None


SLIDES = Format(
    "a slide (.svs, .tif, ...), or a folder of them", _matches, lambda path, request: open_slides(path),
    frozenset(("photos",)),
)  # fmt: skip
