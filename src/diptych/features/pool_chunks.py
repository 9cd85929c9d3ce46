"""A stream of pairs in chunks, for curators that look at pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, overload

from diptych.core import Stream, UsageError

CHUNK = 1024
"""Pairs in memory at the same time, at most."""
BYTES = 16 * 2**20
"""Bytes of files of pictures in memory at the same time, but for those of ``STEP`` pairs."""
STEP = 16
"""Pairs that are read before their bytes are counted."""
UNKNOWN = BYTES // 256
"""Bytes that an item is taken to have which does not say how many it has."""


def chunks(stream: Stream[Any], size: int = CHUNK) -> Iterator[list[tuple[int, Any]]]:
    """Yield (position, item) of some pairs at a time: ``size`` of them, or fewer that have ``BYTES`` together."""
    source, some, weight = iter(stream), list[tuple[int, Any]](), 0
    while part := list(islice(source, min(STEP, size - len(some), max(1, (BYTES - weight) // UNKNOWN)))):
        some += part
        contents = [(item, getattr(item, "content", None)) for _, item in part]
        weight += sum([len(content) if type(content) is bytes else weight_of(item) for item, content in contents])
        if len(some) == size or weight >= BYTES:
            yield some
            some, weight = [], 0
    if some:
        yield some


def weight_of(item: Any) -> int:
    """Return the bytes that an item of a stream holds; ``UNKNOWN`` where it does not say.

    Example:
        >>> weight_of("three words long"), weight_of(object()) == UNKNOWN
        (16, True)
    """
    content = getattr(item, "content", UNKNOWN)
    if isinstance(content, bytes):
        return len(content)
    if content is None:  # the picture is in a file of its own
        return 0
    if isinstance(item, str):
        return len(item)
    members = getattr(item, "members", None)
    return sum(map(len, members.values())) if isinstance(members, dict) else UNKNOWN


def picture_chunks(stream: Stream[Any], system: str) -> Iterator[list[tuple[int, Any]]]:
    """Yield chunks of pairs that have pictures.

    Raises:
        UsageError: the stream is of texts alone.
    """
    for some in chunks(stream):
        if str in {type(item) for _, item in some}:
            raise UsageError(
                f"{system} looks at pictures, and this pool has texts alone: give articles, tables or tars."
            )
        yield some


class Names(Sequence[str]):
    """The names of a chunk of pairs, each made when it is needed."""

    def __init__(self, some: Sequence[tuple[int, Any]]) -> None:
        self._some = some

    def __len__(self) -> int:
        return len(self._some)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return Names(self._some[index])
        position, item = self._some[index]
        return name_of(item, position)


def name_of(item: Any, position: int) -> str:
    """Return the name of an item, or its position where it has none."""
    return str(getattr(item, "name", position))
