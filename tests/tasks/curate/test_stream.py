"""What a curator is given of a stream, and what is passed over with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from diptych.core import UnreadableItem, UsageError
from diptych.core.curate import NAMED
from diptych.data.load import open_stream
from diptych.tasks.curate.stream import Once, Readable, Skipped, readable


@dataclass(frozen=True)
class Item:
    """A text that may not be readable."""

    said: str

    def text(self) -> str:
        """Return the text."""
        if not self.said:
            raise UnreadableItem("row", "no text")
        return self.said


@dataclass(frozen=True)
class Rows:
    """Items as a stream."""

    items: tuple[Item, ...]
    start: int = 0

    def __iter__(self) -> Iterator[tuple[int, Item]]:
        return iter([*enumerate(self.items)][self.start :])

    def seek(self, position: int) -> Rows:
        """Return the stream from a position on."""
        return replace(self, start=position)


def test_what_cannot_be_read_is_passed_over_and_counted() -> None:
    skipped = Skipped()
    stream = readable(Rows((Item("a"), Item(""), Item("b"))), skipped)
    assert [(n, item.said) for n, item in stream] == [(0, "a"), (2, "b")]
    assert (skipped.count, skipped.first) == (1, [{"path": "row", "reason": "no text"}])
    assert isinstance(stream, Readable)
    assert [n for n, _ in stream.seek(2)] == [2]


def test_lines_of_text_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    lines = open_stream(str(tmp_path / "a.txt"))
    assert readable(lines) is lines


def test_the_first_are_named_and_all_are_counted() -> None:
    skipped = Skipped()
    for i in range(NAMED + 3):
        skipped.add(str(i), "empty")
    other = Skipped(1, [{"path": "x", "reason": "empty"}])
    other.extend(skipped.count, skipped.first)
    assert (skipped.count, len(skipped.first), other.count, len(other.first)) == (NAMED + 3, NAMED, NAMED + 4, NAMED)
    assert other.first[0]["path"] == "x"


def test_a_stream_that_is_under_way_is_not_sought() -> None:
    with pytest.raises(UsageError, match="one place"):
        Once(iter([])).seek(1)
