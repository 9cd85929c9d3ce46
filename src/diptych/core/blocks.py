"""A stream of pairs in blocks, whose columns are read when they are needed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from types import MappingProxyType
from typing import Any, Protocol, overload, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from diptych.core.data import Stream
from diptych.core.errors import UnreadableItem, UsageError

ROWS = 1024
"""Pairs of a block, at most."""
BYTES = 16 * 2**20
"""Bytes of files of pictures in memory at the same time, but for those of ``STEP`` pairs."""
STEP = 16
"""Pairs that are read before their bytes are counted."""
UNKNOWN = BYTES // 256
"""Bytes that an item is taken to have which does not say how many it has."""
_NONE: Mapping[int, UnreadableItem] = MappingProxyType({})


class Columnar(Sequence[Any]):
    """Items of a block that are made when they are looked at, and whose columns can be read by themselves."""

    @abstractmethod
    def texts(self) -> Sequence[str]:
        """Return the text of each item."""

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """The name of each item."""

    @abstractmethod
    def unpictured(self, number: int) -> Any:
        """Return an item without its picture."""


@dataclass(frozen=True, eq=False)
class Block:
    """N pairs of a stream, in the order in which they lie.

    Args:
        positions: (N,) of each pair in its stream.
        items: the pairs, perhaps ``Columnar``; in the place of one that cannot be read, the UnreadableItem.
        failed: number of a pair in the block -> why it cannot be read.
        source: says which rows of which file these are, and in which state the file was, so that what was computed of
            them before is known without reading them; "": they must be read.
    """

    positions: NDArray[np.int64]
    items: Sequence[Any]
    failed: Mapping[int, UnreadableItem] = field(default_factory=lambda: _NONE)
    source: str = ""

    @classmethod
    def of(cls, pairs: Sequence[tuple[int, Any]]) -> Block:
        """Return the block of (position, item or UnreadableItem).

        Example:
            >>> block = Block.of([(4, "a cat"), (7, UnreadableItem("b.txt", "is no UTF-8 text"))])
            >>> len(block), block.positions.tolist(), block.readable().texts()
            (2, [4, 7], ['a cat'])
        """
        failed = {number: item for number, (_, item) in enumerate(pairs) if isinstance(item, UnreadableItem)}
        return cls(np.array([at for at, _ in pairs], dtype=np.int64), [item for _, item in pairs], failed or _NONE)

    def __len__(self) -> int:
        return len(self.positions)

    def readable(self) -> Block:
        """Return the block of the pairs that can be read; raises nothing."""
        if not self.failed:
            return self
        numbers = [number for number in range(len(self)) if number not in self.failed]
        return Block(self.positions[numbers], [self.items[number] for number in numbers])

    def behind(self, count: int) -> Block:
        """Return the block without its first pairs."""
        return Block.of([*zip(self.positions.tolist(), self.items, strict=True)][count:])

    def texts(self) -> Sequence[str]:
        """Return the text of each pair; raises UnreadableItem where one cannot be read."""
        if isinstance(self.items, Columnar):
            return self.items.texts()
        return [item if isinstance(item, str) else item.text() for item in self.items]

    def name(self, number: int) -> str:
        """Return the name of a pair, or its position where it has none."""
        if isinstance(self.items, Columnar):
            return self.items.names[number]
        return str(getattr(self.items[number], "name", self.positions[number]))

    @property
    def names(self) -> Sequence[str]:
        """The name of each pair, made when it is needed."""
        return self.items.names if isinstance(self.items, Columnar) else _Names(self)

    def unpictured(self, number: int) -> Any:
        """Return a pair, without its picture where that is read by itself."""
        return self.items.unpictured(number) if isinstance(self.items, Columnar) else self.items[number]

    def check_pictures(self, refusal: str) -> None:
        """Raise UsageError with this sentence where the stream is of texts alone."""
        if not isinstance(self.items, Columnar) and str in {*map(type, self.items)}:
            raise UsageError(refusal)


class _Names(Sequence[str]):
    def __init__(self, block: Block) -> None:
        self._block = block

    def __len__(self) -> int:
        return len(self._block)

    def __iter__(self) -> Iterator[str]:
        return map(self._block.name, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self._block.name(number) for number in range(len(self))[index]]
        return self._block.name(index)


@runtime_checkable
class Blocked(Protocol):
    """A stream that gives blocks by itself."""

    def blocks(self) -> Iterator[Block]:
        """Yield all pairs, and those that cannot be read, in order."""


@runtime_checkable
class Sourced(Protocol):
    """A stream that knows in which state the files of its items are."""

    def source(self, pairs: Sequence[tuple[int, Any]]) -> str:
        """Return the ``Block.source`` of some of its items, which follow each other; "" where it is not known."""


def block_of(stream: Stream[Any], pairs: Sequence[tuple[int, Any]]) -> Block:
    """Return the block of (position, item or UnreadableItem) of a stream, with its source where all can be read."""
    block = Block.of(pairs)
    return block if block.failed or not isinstance(stream, Sourced) else replace(block, source=stream.source(pairs))


def blocks(stream: Stream[Any]) -> Iterator[Block]:
    """Yield the pairs of a stream, ``ROWS`` at a time, or fewer that have ``BYTES`` together.

    Raises:
        UnreadableItem: a pair cannot be read, and the stream does not pass over it.
    """
    for block in (
        stream.blocks() if isinstance(stream, Blocked) else (block_of(stream, some) for some in chunks(stream))
    ):
        if block.failed:
            raise block.failed[min(block.failed)]
        yield block


def chunks(pairs: Iterable[tuple[int, Any]], size: int = ROWS) -> Iterator[list[tuple[int, Any]]]:
    """Yield (position, item) of some pairs at a time: ``size`` of them, or fewer that have ``BYTES`` together."""
    source, some, weight = iter(pairs), list[tuple[int, Any]](), 0
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
