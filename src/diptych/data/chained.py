"""Streams of several sources as one."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from diptych.core import Stream

SOURCE = 2**52
"""A position is the number of the source times this, plus the position in the source."""


@dataclass(frozen=True)
class Chained:
    """Several streams, one after another, as a Stream of core.data that can be split at their files.

    A stream that cannot be split, such as that of a table, counts as one file.

    Example:
        >>> from diptych.data.formats.tars import TarStream
        >>> Chained((TarStream(("a.tar", "b.tar")), TarStream(("c.tar",)))).each((2.0, 1.0))
        (2.0, 2.0, 1.0)
    """

    sources: tuple[Stream[Any], ...]
    first: int = 0

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        for number, source in enumerate(self.sources, self.first):
            for position, item in source:
                yield number * SOURCE + position, item

    def outcomes(self) -> Generator[tuple[int, Any], None, None]:
        """Yield (position, item or UnreadableItem) of all items, where a source tells them apart."""
        for number, source in enumerate(self.sources, self.first):
            tried = getattr(source, "outcomes", None)
            for position, item in tried() if tried else iter(source):
                yield number * SOURCE + position, item

    def seek(self, position: int) -> Chained:
        """Return the stream that starts at a position, which was counted by this stream."""
        number, inner = divmod(position, SOURCE)
        skipped = number - self.first
        begun = self.sources[skipped].seek(inner)
        return replace(self, sources=(begun, *self.sources[skipped + 1 :]), first=number)

    @property
    def shards(self) -> Sequence[str]:
        """Names of the files, in reading order."""
        return tuple(name for source in self.sources for name in _files(source))

    def parts(self, count: int) -> list[Chained]:
        """Return streams of one file each, whatever the count; each item is in one, at the same position."""
        split = [
            source.parts(len(names)) if len(names := _files(source)) > 1 else [source]  # type: ignore[attr-defined]
            for source in self.sources
        ]
        return [Chained((part,), number) for number, parts in enumerate(split, self.first) for part in parts]

    def each(self, values: Sequence[float]) -> tuple[float, ...]:
        """Return the value of its source for each file."""
        return tuple(v for v, source in zip(values, self.sources, strict=True) for _ in _files(source))


def _files(source: Stream[Any]) -> Sequence[str]:
    return getattr(source, "shards", ()) or (str(getattr(source, "path", "")),)
