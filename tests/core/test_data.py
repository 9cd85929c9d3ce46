from __future__ import annotations

import pytest

from diptych.core import ClassNames, Column, DataError, Table, Texts, UsageError


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


@pytest.mark.parametrize("blank", ["", " "])
def test_an_empty_class_name_is_refused(blank: str) -> None:
    with pytest.raises(UsageError, match=r"^Class name 2 of 3 is empty: leave it out, or write a word\.$"):
        ClassNames(("cat", blank, "dog"))


def test_texts_are_taken_in_an_order_that_was_given() -> None:
    assert Texts.of("a cat").values == ("a cat",)
    assert Texts.of(text for text in ("a", "b")).values == Texts.of(["a", "b"]).values == ("a", "b")
    for given, says in (
        ({"b", "a"}, "Texts cannot be a set, which has no order: give sorted"),
        ({"text": "a"}, "Texts cannot be a dict: give a list of texts"),
        (b"a cat", "not bytes"), ((b"a cat",), "not bytes"), (None, "not NoneType"), ([["a"]], "not list"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=says):
            Texts.of(given)
