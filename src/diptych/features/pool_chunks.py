"""A stream of pairs in chunks, for curators that look at pictures."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from diptych.core import Stream, UsageError

CHUNK = 256
"""Pairs in memory at the same time."""


def chunks(stream: Stream[Any], size: int = CHUNK) -> Iterator[list[tuple[int, Any]]]:
    """Yield (position, item) of ``size`` pairs at a time."""
    source = iter(stream)
    while some := list(islice(source, size)):
        yield some


def picture_chunks(stream: Stream[Any], system: str) -> Iterator[list[tuple[int, Any]]]:
    """Yield chunks of pairs that have pictures.

    Raises:
        UsageError: the stream is of texts alone.
    """
    for some in chunks(stream):
        if any(isinstance(item, str) for _, item in some):
            raise UsageError(
                f"{system} looks at pictures, and this pool has texts alone: give articles, tables or tars."
            )
        yield some


def name_of(item: Any, position: int) -> str:
    """Return the name of an item, or its position where it has none."""
    return str(getattr(item, "name", position))
