"""Many small values in little memory, such as the paths of millions of pictures."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, TypeVar, overload

T = TypeVar("T")
FEW = 8192
"""Values up to which ``packed`` keeps them as they are."""
_BLOCK = 128


class Packed(Sequence[T]):
    """Values in compressed blocks, of which the one that was read last stays open. Neighbours have much in common, so
    that a path takes about a tenth of its length.

    Args:
        values: strings, numbers, or lists of these, which are read once.

    Example:
        >>> names = Packed(f"photos/{i:07d}.jpg" for i in range(1000))
        >>> names[123], len(names)
        ('photos/0000123.jpg', 1000)
    """

    def __init__(self, values: Iterable[T]) -> None:
        self._length, self._blocks = 0, list[bytes]()
        self._open: tuple[int, list[T]] = (-1, [])
        rest = iter(values)
        while block := list(islice(rest, _BLOCK)):
            self._blocks.append(zlib.compress(json.dumps(block).encode(), 1))
            self._length += len(block)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int, /) -> T: ...
    @overload
    def __getitem__(self, index: slice, /) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice, /) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(self._length)[index]]
        number, row = divmod(range(self._length)[index], _BLOCK)
        opened = self._open  # one reference: other threads may replace it
        if opened[0] != number:
            opened = self._open = number, self._block(number)
        return opened[1][row]

    def __iter__(self) -> Iterator[T]:
        for number in range(len(self._blocks)):
            yield from self._block(number)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Packed) and self._blocks == other._blocks

    def __hash__(self) -> int:
        return hash(tuple(self._blocks))

    def _block(self, number: int) -> list[T]:
        values: list[T] = json.loads(zlib.decompress(self._blocks[number]))
        return values


def packed(values: Iterable[T]) -> Sequence[T]:
    """Return a few values as a tuple, and more of them as ``Packed``; what is one of these already stays."""
    if isinstance(values, (tuple, Packed)) and (isinstance(values, Packed) or len(values) <= FEW):
        return values
    rest = iter(values)
    few = tuple(islice(rest, FEW + 1))
    return few if len(few) <= FEW else Packed(chain(few, rest))
