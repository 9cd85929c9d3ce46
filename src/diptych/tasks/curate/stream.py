"""The items of a stream that a curator can judge, and those that cannot be read.

A row without path or a member without .txt is passed over with its reason. So is what lies behind the damage of a tar,
which stays what it is. A tar that cannot be opened or read now is an error: a pass that went on without it would be
complete, and ``resume`` goes on there once it can be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from diptych.core import DataError, Stream, UnreadableItem, UsageError
from diptych.core.blocks import Block, Blocked, block_of, chunks
from diptych.core.curate import NAMED
from diptych.data.formats.pairs import PairStream
from diptych.data.formats.parquet_pairs import ParquetStream
from diptych.data.skipped import add_skipped
from diptych.data.words.textlines import TextLines

WAITING = 1024
"""Items that are listed at once."""


@runtime_checkable
class Outcomes(Protocol):
    """A stream that knows which of its items cannot be read."""

    def outcomes(self) -> Iterator[tuple[int, Any]]:
        """Yield (position, item, or the UnreadableItem that says why it cannot be read)."""


@runtime_checkable
class Parted(Outcomes, Protocol):
    """A stream of many files, each a shard."""

    @property
    def shards(self) -> Sequence[str]:
        """Paths, in reading order."""

    def parts(self, count: int) -> Sequence[Stream[Any]]:
        """Return at most ``count`` streams of whole files; each item is in one of them, at the same position."""


@dataclass
class Skipped:
    """Items that cannot be judged.

    Args:
        first: {"path", "reason"} of the first ``NAMED``.
        file: lists all that are added one by one; None: no file does.
        bytes: of the file that count.
    """

    count: int = 0
    first: list[dict[str, str]] = field(default_factory=list)
    file: Path | None = None
    bytes: int = 0
    waiting: list[dict[str, str]] = field(default_factory=list, repr=False)

    def add(self, path: str, reason: str) -> None:
        """Add one."""
        self.count += 1
        row = {"path": path, "reason": reason}
        if len(self.first) < NAMED:
            self.first.append(row)
        if self.file is not None:
            self.waiting.append(row)
            if len(self.waiting) >= WAITING:
                self.flush()

    def flush(self) -> None:
        """Write what waits to be listed."""
        if self.file is not None:
            self.bytes = add_skipped(self.file, self.waiting, self.bytes)
            self.waiting.clear()

    def extend(self, count: int, first: Sequence[Mapping[str, str]]) -> None:
        """Add those of another pass."""
        self.count += count
        self.first += map(dict, first[: NAMED - len(self.first)])


@dataclass(frozen=True)
class Readable:
    """The items of a stream that can be read, at their positions.

    Args:
        skipped: takes the others.
    """

    stream: Stream[Any]
    skipped: Skipped = field(default_factory=Skipped)

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        for position, item in outcomes(self.stream):
            if isinstance(item, UnreadableItem):
                self.skipped.add(item.name, item.reason)
            else:
                yield position, item

    def blocks(self) -> Iterator[Block]:
        """Yield them in blocks."""
        for block in outcome_blocks(self.stream):
            for item in block.failed.values():
                self.skipped.add(item.name, item.reason)
            if len(block.failed) < len(block):
                yield block.readable()

    def seek(self, position: int) -> Readable:
        """Return the stream that starts at ``position``."""
        return replace(self, stream=self.stream.seek(position))


def readable(stream: Stream[Any], skipped: Skipped | None = None) -> Stream[Any]:
    """Return a stream without the items that cannot be read; see ``Readable``. Lines of text can all be read."""
    return stream if isinstance(stream, TextLines) else Readable(stream, skipped or Skipped())


@dataclass(frozen=True)
class Once:
    """A stream that is under way; it cannot be sought in.

    Args:
        items: (position, item).
    """

    items: Iterator[tuple[int, Any]]

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return self.items

    def seek(self, position: int) -> Stream[Any]:
        """Raise UsageError: it has one place only."""
        raise UsageError("This stream is under way and has one place only: seek before it is read.")


@dataclass(frozen=True)
class OnceInBlocks(Once):
    """A stream of blocks that is under way."""

    under_way: Iterator[Block]

    @classmethod
    def of(cls, under_way: Iterator[Block]) -> OnceInBlocks:
        """Return the stream of some blocks."""
        pairs = (pair for block in under_way for pair in zip(block.positions.tolist(), block.items, strict=True))
        return cls(pairs, under_way)

    def blocks(self) -> Iterator[Block]:
        """Return the blocks."""
        return self.under_way


def outcome_blocks(stream: Stream[Any]) -> Iterator[Block]:
    """Yield the pairs of ``outcomes`` in blocks."""
    if isinstance(stream, Blocked):
        return stream.blocks()
    return (block_of(stream, some) for some in chunks(outcomes(stream)))


def outcomes(stream: Stream[Any]) -> Iterator[tuple[int, Any]]:
    """Yield (position, item, or why it cannot be read); raises DataError where a whole tar cannot be read now."""
    for position, item in stream.outcomes() if isinstance(stream, Outcomes) else iter(stream):
        if isinstance(item, UnreadableItem):
            # an error of the file system, not of what the file holds
            if isinstance(item.__cause__, OSError) and item.__cause__.errno:
                raise DataError(
                    f"{item.name} cannot be read ({item.__cause__.strerror}): restore it and continue with {{resume}}."
                )
        elif hasattr(item, "text"):
            try:
                item.text()
            except UnreadableItem as error:
                item = UnreadableItem(
                    error.name, error.reason
                )  # the one that was raised holds the item by its traceback
        yield position, item


def need_items(streams: Sequence[Stream[Any]], names: Sequence[str]) -> None:
    """Refuse a pool of tables or of text files that have no row; tars and slides are not opened.

    Args:
        streams: of the pool.
        names: of its files, for the error.

    Raises:
        DataError: there is no row.
    """
    if all(
        isinstance(s, (PairStream, ParquetStream, TextLines)) and not any(True for _ in outcomes(s)) for s in streams
    ):
        raise DataError(f"There is nothing in {', '.join(names)}: give a pool that has rows.")
