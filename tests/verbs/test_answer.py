from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest

from diptych import verbs
from diptych.core import DataError, Run, UnreadableItem
from diptych.verbs.answer import Answer, counted, speed


@dataclass(frozen=True)
class Item:
    name: str
    score: float

    def as_dict(self) -> dict[str, Any]:
        return {"path": self.name, "score": self.score, "parts": [1]}


class Scores(Answer[Item]):
    done = "scored"

    def line(self, item: Item) -> str:
        return f"{item.score:g}"


def test_items_that_cannot_be_read_are_gathered_apart() -> None:
    answer = Scores(iter([Item("a", 1.0), UnreadableItem("b", "cut off"), Item("c", 2.0)]))
    items = list(answer)
    assert [i.name for i in items] == ["a", "c"]
    assert answer.title(items) == "2 photos scored"
    data = answer.data([answer.row(i) for i in items], ["Look twice."])
    assert data["skipped"] == [{"path": "b", "reason": "cut off"}]
    assert data["remarks"] == ["Look twice."]
    assert answer.columns(items) == {"score": [1.0, 2.0], "label": ["1", "2"]}
    assert answer.picture(items[0]) is None


def test_items_of_which_none_can_be_read_are_an_error() -> None:
    answer = Scores(iter([UnreadableItem("b", "cut off"), UnreadableItem("c", "empty file")]))
    with pytest.raises(DataError, match=r"^None of the 2 photos can be read; the first: b: cut off\.$"):
        list(answer)
    assert list(Scores(iter([]))) == []


def test_speed_is_said_in_words() -> None:
    assert speed(0, 1.0, Run(), "lite") == "lite on cpu, fp32: all from the cache"
    assert speed(8, 2.0, Run(), "lite", "clips") == "lite on cpu, fp32: 8 clips in 2.0 s, 4 clips/s"
    assert counted(1, 2.0) == "1 image in 2.0 s, 0.5 images/s"
    assert counted(26, 235.0) == "26 images in 235.0 s, 0.11 images/s"


def test_a_reader_that_fails_or_stops_early_ends_what_makes_the_items() -> None:
    ended: list[str] = []

    def made(word: str) -> Iterator[Item]:
        try:
            yield Item("a", 1.0)
            yield Item("b", 2.0)
        finally:
            ended.append(word)

    answer = Scores(made("stopped"))
    with answer:
        for _ in answer:
            break
        assert ended == []
    assert ended == ["stopped"]

    def fail(answer: Scores) -> None:
        with answer:
            for _ in answer:
                raise ValueError("full")

    with pytest.raises(ValueError, match="full") as error:
        fail(Scores(made("failed")))
    assert ended == ["stopped", "failed"], f"while {error} holds the frames"
    with Scores(iter([])) as nothing:
        assert list(nothing) == []


def test_the_plain_data_of_every_answer_with_remarks_have_them() -> None:
    for module in pkgutil.walk_packages(verbs.__path__, "diptych.verbs."):
        import_module(module.name)
    kinds, seen = [Answer], set[type]()
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if kind.__module__.startswith("diptych.") and kind.remarks is not Answer.remarks:
            source = inspect.getsource(kind.data).partition('"""')[2]
            assert "remarks)" in source, kind
            seen.add(kind)
    assert len(seen) > 12
