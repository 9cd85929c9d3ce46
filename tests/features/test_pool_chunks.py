from __future__ import annotations

import pytest

from diptych.core import UsageError
from diptych.evaluation.boards.caption_pool import Captions
from diptych.features.pool_chunks import CHUNK, name_of, picture_chunks


class Item:
    name = "a.jpg"


def test_all_items_come_in_order_and_texts_are_refused() -> None:
    items = tuple(Item() for _ in range(CHUNK + 3))
    chunks = list(picture_chunks(Captions(items), "x"))
    assert [len(c) for c in chunks] == [CHUNK, 3]
    assert [at for c in chunks for at, _ in c] == list(range(CHUNK + 3))
    with pytest.raises(UsageError, match="x looks at pictures"):
        list(picture_chunks(Captions(("a text",)), "x"))
    assert (name_of(items[0], 4), name_of("a text", 4)) == ("a.jpg", "4")
