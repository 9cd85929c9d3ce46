from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from diptych.core import UsageError
from diptych.evaluation.boards.caption_pool import Captions
from diptych.features.pool_chunks import BYTES, CHUNK, STEP, Names, chunks, name_of, picture_chunks


class Item:
    name = "a.jpg"


def test_all_items_come_in_order_and_texts_are_refused() -> None:
    items = tuple(Item() for _ in range(259))
    chunks = list(picture_chunks(Captions(items), "x"))
    assert [len(c) for c in chunks] == [256, 3]
    assert [at for c in chunks for at, _ in c] == list(range(259))
    with pytest.raises(UsageError, match="x looks at pictures"):
        list(picture_chunks(Captions(("a text",)), "x"))
    assert (name_of(items[0], 4), name_of("a text", 4)) == ("a.jpg", "4")


@dataclass
class Held:
    """An item that holds bytes, or whose picture is in a file."""

    content: bytes | None


@dataclass
class Tarred:
    members: dict[str, bytes]


def lengths(items: Sequence[object], size: int = CHUNK) -> list[int]:
    return [len(some) for some in chunks(Captions(tuple(items)), size)]  # type: ignore[arg-type]


def test_a_chunk_ends_where_its_pictures_have_many_bytes() -> None:
    assert lengths([Held(None)] * (CHUNK + 3)) == [CHUNK, 3]
    assert lengths([Held(b"x")] * 20, size=8) == [8, 8, 4]
    large = bytes(BYTES // 100)
    assert lengths([Held(large)] * 230) == [106, 106, 18]
    assert lengths([Tarred({"jpg": large, "txt": b"a text"})] * 230) == [106, 106, 18]
    assert lengths([Held(bytes(BYTES))] * (STEP + 1)) == [STEP, 1]
    assert lengths([]) == []


def test_names_are_made_when_they_are_needed() -> None:
    names = Names([(7, Item()), (9, "a text")])
    assert (len(names), names[0], names[1], list(names[1:])) == (2, "a.jpg", "9", ["9"])
