"""Slides, one or a folder of them, as a stream of tiles."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from diptych.core.errors import UnreadableItem, UsageError
from diptych.data.format import Format, Request, files_below
from diptych.data.formats.outcomes import usable
from diptych.data.slides import PATHGEN, Grid, Slide, SlideTiles, Tile

ENDINGS = (".svs", ".tif", ".tiff", ".scn", ".bif", ".ndpi")
"""File endings of slides."""
_SHARD = 2**32  # positions: number of the slide * _SHARD + number of the tile on it


@dataclass(frozen=True)
class SlideStream:
    """The tiles of slides, slide by slide, as a Stream of core.data with one slide open.

    Args:
        shards: slides; see ``open_slides``.
        grid: how they are cut.
        broken: function that takes the error of each slide that cannot be read, which is then skipped. None (default):
            the error is raised.
        start: position of the first tile. A position has the number of the slide and of the tile on it.
        stop: position of the end, the first of a slide. None: the end of the last slide.
    """

    shards: tuple[str, ...]
    grid: Grid = PATHGEN
    broken: Callable[[UnreadableItem], None] | None = None
    start: int = 0
    stop: int | None = None

    def __iter__(self) -> Iterator[tuple[int, Tile]]:
        return usable(self.outcomes(), self.broken)

    def outcomes(self) -> Generator[tuple[int, Tile | UnreadableItem], None, None]:
        """Yield (position, tile or error); a slide that cannot be read is one error."""
        first, skip = divmod(self.start, _SHARD)
        for number in range(first, len(self.shards) if self.stop is None else self.stop // _SHARD):
            tiles = SlideTiles(Slide(self.shards[number]), self.grid)
            try:
                count = len(tiles)
            except UnreadableItem as error:
                yield number * _SHARD, error
                continue
            for place in range(skip if number == first else 0, count):
                yield number * _SHARD + place, tiles.tile(place)

    def seek(self, position: int) -> SlideStream:
        """Return the stream that starts at ``position``."""
        return replace(self, start=position)

    def parts(self, count: int) -> list[SlideStream]:
        """Return at most ``count`` streams of whole slides; each tile is in one of them, at the same position."""
        cuts = sorted({len(self.shards) * k // count for k in range(count + 1)})
        return [replace(self, start=a * _SHARD, stop=b * _SHARD) for a, b in itertools.pairwise(cuts)]


def open_slides(path: str | os.PathLike[str], grid: Grid | None = None) -> SlideStream:
    """Open a slide, or all slides below a folder, in the order of their names.

    Raises:
        UsageError: there are none.
    """
    shards = tuple(files_below(Path(path), ENDINGS))
    if not shards:
        raise UsageError(f"There are no slides below {path}: give a folder of {', '.join(ENDINGS)}, or one of them.")
    return SlideStream(shards, grid or PATHGEN)


def _matches(path: Path, request: Request) -> bool:
    return next(files_below(path, ENDINGS), None) is not None


SLIDES = Format(
    "a slide (.svs, .tif, ...), or a folder of them", _matches, lambda path, request: open_slides(path),
    frozenset(("photos",)),
)  # fmt: skip
