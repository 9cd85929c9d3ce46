from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from diptych.core import UnreadableItem, UsageError
from diptych.core.blocks import BYTES, ROWS, STEP, Block, blocks, chunks
from diptych.evaluation.boards.caption_pool import Captions
from diptych.features.pool_vectors import with_pictures


class Item:
    name = "a.jpg"


def test_all_items_come_in_order_and_texts_are_refused() -> None:
    items = tuple(Item() for _ in range(259))
    some = list(with_pictures(Captions(items), "x"))
    assert [len(block) for block in some] == [256, 3]
    assert [at for block in some for at in block.positions.tolist()] == list(range(259))
    with pytest.raises(UsageError, match="x looks at pictures"):
        list(with_pictures(Captions(("a text",)), "x"))


@dataclass
class Held:
    """An item that holds bytes, or whose picture is in a file."""

    content: bytes | None


@dataclass
class Tarred:
    members: dict[str, bytes]


def lengths(items: Sequence[object], size: int = ROWS) -> list[int]:
    return [len(some) for some in chunks(Captions(tuple(items)), size)]  # type: ignore[arg-type]


def test_a_chunk_ends_where_its_pictures_have_many_bytes() -> None:
    assert lengths([Held(None)] * (ROWS + 3)) == [ROWS, 3]
    assert lengths([Held(b"x")] * 20, size=8) == [8, 8, 4]
    large = bytes(BYTES // 100)
    assert lengths([Held(large)] * 230) == [106, 106, 18]
    assert lengths([Tarred({"jpg": large, "txt": b"a text"})] * 230) == [106, 106, 18]
    assert lengths([Held(bytes(BYTES))] * (STEP + 1)) == [STEP, 1]
    assert lengths([]) == []


def test_names_are_made_when_they_are_needed() -> None:
    names = Block.of([(7, Item()), (9, "a text")]).names
    assert (len(names), names[0], names[1], list(names), list(names[1:])) == (2, "a.jpg", "9", ["a.jpg", "9"], ["9"])


def test_what_cannot_be_read_is_left_out_or_raised() -> None:
    broken = UnreadableItem("b.txt", "is no UTF-8 text")
    block = Block.of([(4, "a cat"), (7, broken), (9, "a dog")])
    assert dict(block.failed) == {1: broken}
    rest = block.readable()
    assert (rest.positions.tolist(), list(rest.texts()), rest.readable() is rest) == ([4, 9], ["a cat", "a dog"], True)
    behind = block.behind(1)
    assert (behind.positions.tolist(), dict(behind.failed), behind.unpictured(1)) == ([7, 9], {0: broken}, "a dog")

    class Stream(Captions):
        def blocks(self) -> Iterator[Block]:
            return iter([rest, block])

    seen = blocks(Stream(()))
    assert next(seen) is rest
    with pytest.raises(UnreadableItem, match="UTF-8"):
        next(seen)
    assert np.issubdtype(block.positions.dtype, np.int64)
