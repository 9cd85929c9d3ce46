"""Streams with unusable items, which the reader may report or raise."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Generic, Self, TypeVar

from diptych.core import UnreadableItem

T = TypeVar("T")
SHARD = 2**32
SETTLED = 10.0
"""Seconds after which a file that nobody wrote to is taken to hold what was read of it."""


def usable(
    outcomes: Generator[tuple[int, T | UnreadableItem], None, None], broken: Callable[[UnreadableItem], None] | None
) -> Iterator[tuple[int, T]]:
    """Yield (position, item) of the usable items.

    Args:
        outcomes: positions with items or errors. It is closed explicitly, since an error raised here would keep its
            file open.
        broken: function that takes the errors; None: the first is raised.

    Raises:
        UnreadableItem: the first error, where ``broken`` is None.
    """
    with contextlib.closing(outcomes):
        for position, item in outcomes:
            if not isinstance(item, UnreadableItem):
                yield position, item
            elif broken is None:
                raise item
            else:
                broken(item)


@dataclass(frozen=True)
class ShardStream(Generic[T]):
    """Items of files, file by file, as a Stream of core.data.

    A position is the number of the file times 2^32, plus the number of the item in it.

    Args:
        shards: files or addresses, in reading order.
        broken: function that takes the error of each item or file that cannot be read, which is then skipped. None
            (default): the error is raised.
        start: position of the first item.
        stop: position of the end, the first of a file. None: the end of the last file.
    """

    shards: tuple[str, ...]
    broken: Callable[[UnreadableItem], None] | None = None
    start: int = 0
    stop: int | None = None

    def __iter__(self) -> Iterator[tuple[int, T]]:
        return usable(self.outcomes(), self.broken)

    def outcomes(self) -> Generator[tuple[int, T | UnreadableItem], None, None]:
        """Yield (position, item or error) of all items; an error may be that of the rest of a file."""
        for first, skip, shard in self.places():
            with contextlib.closing(self.items(shard, skip)) as items:
                for place, item in items:
                    yield first + place, item

    def places(self) -> Iterator[tuple[int, int, str]]:
        """Yield, of each file, the position of its first item, the number of items that are left out, and its path."""
        first, skip = divmod(self.start, SHARD)
        for number in range(first, len(self.shards) if self.stop is None else self.stop // SHARD):
            yield number * SHARD, skip if number == first else 0, self.shards[number]

    def items(self, shard: str, skip: int) -> Generator[tuple[int, T | UnreadableItem], None, None]:
        """Yield (number, item or error) of the items of a file, from the number ``skip`` on."""
        raise NotImplementedError

    def settled(self, positions: Sequence[int]) -> str:
        """Return positions, and the paths and states of the files that hold them.

        Returns:
            "" where a file is none on this machine, or was written to less than ``SETTLED`` seconds ago: its items were
            read before this look.
        """
        facts = [hashlib.sha256(repr([*positions]).encode()).hexdigest()]
        try:
            for number in range(positions[0] // SHARD, positions[-1] // SHARD + 1):
                at = os.stat(self.shards[number])
                if not stat.S_ISREG(at.st_mode) or time.time() - at.st_mtime < SETTLED:
                    return ""
                facts += [os.path.abspath(self.shards[number]), str(at.st_size), str(at.st_mtime_ns), str(at.st_ino)]
        except (OSError, ValueError):
            return ""
        return "\0".join(facts)

    def seek(self, position: int) -> Self:
        """Return the stream that starts at ``position``."""
        return replace(self, start=position)

    def parts(self, count: int) -> list[Self]:
        """Return at most ``count`` streams of whole files; each item is in one of them, at the same position."""
        cuts = sorted({len(self.shards) * k // count for k in range(count + 1)})
        return [replace(self, start=a * SHARD, stop=b * SHARD) for a, b in pairwise(cuts)]
