from __future__ import annotations

import pytest

from diptych.core import Column, DataError, Table, Texts


def test_images_beside_the_items_are_selected_without_being_read() -> None:
    class Unread(Texts):
        def __getitem__(self, index: int) -> str:
            raise AssertionError("nobody asked for it")

    table = Table(Texts(("a", "b", "c")), {"source": Column.images(Unread(("x", "y", "z")))}).take([2, 0])
    assert [table.images("source").name(i) for i in range(2)] == ["z", "x"]
    with pytest.raises(DataError, match="no column of images 'target'"):
        table.images("target")
    with pytest.raises(DataError, match="has 1 values for 2 items"):
        Table(Texts(("a", "b")), {"source": Column.images(Texts(("x",)))})
