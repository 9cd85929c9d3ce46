from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from PIL import Image

from diptych.core import Ask, DataError, MissingPart, Text
from diptych.nn.text.agents import Requests, write_chain

REQUESTS = Requests("what is it", "correct: {text}", "is it so: {text}", "in {words} words: {text}", 7)
PICTURES = [(f"tile {i}", Image.new("RGB", (4, 4), (i, 0, 0))) for i in range(3)]


@dataclass
class Agent:
    answer: Callable[[Ask], str]
    asks: list[Ask] = field(default_factory=list)

    def write(self, asks: Sequence[Ask]) -> list[list[Text]]:
        self.asks += asks
        return [[Text(said, "agent", ask.prompt)] if (said := self.answer(ask)) else [] for ask in asks]


def number(ask: Ask) -> int:
    assert ask.image is not None
    return int(ask.image.getpixel((0, 0))[0])  # type: ignore[index]


def test_agents_are_asked_in_turn_with_the_picture_and_the_text_so_far() -> None:
    describe, revise = Agent(lambda a: f"seen {number(a)}"), Agent(lambda a: f"{a.prompt}!")
    judge = Agent(lambda a: ("Yes.", "No, it is not", "perhaps")[number(a)])
    shorten = Agent(lambda a: a.prompt.upper())
    agents = {"shorten": shorten, "judge": judge, "revise": revise, "describe": describe}
    done = write_chain(agents, PICTURES, REQUESTS)
    assert [t.value for t in done[0].texts] == ["IN 7 WORDS: CORRECT: SEEN 0!", "correct: seen 0!", "seen 0"]
    assert (done[1].refused, done[1].asked) == ("the judge says no", True)
    assert done[2].refused == "the judge says neither yes nor no: 'perhaps'"
    assert not done[2].asked
    assert [a.prompt for a in judge.asks] == [f"is it so: correct: seen {i}!" for i in range(3)]
    assert [a.image for a in shorten.asks] == [None]  # of what was refused nothing is asked
    assert [a.about for a in describe.asks] == ["tile 0", "tile 1", "tile 2"]


def test_absent_agents_and_absent_answers_leave_the_text_as_it_is() -> None:
    describe = Agent(lambda a: "" if number(a) == 1 else "seen")
    done = write_chain({"describe": describe, "revise": Agent(lambda a: "")}, PICTURES, REQUESTS)
    assert [[t.value for t in w.texts] for w in done] == [["seen"], [], ["seen"]]
    assert done[1].refused == "nobody described it"
    assert write_chain({"describe": describe}, [], REQUESTS) == []
    with pytest.raises(MissingPart, match="Nobody describes"):
        write_chain({}, PICTURES, REQUESTS)


def test_a_writer_that_forgets_a_request_is_named() -> None:
    class Short(Agent):
        def write(self, asks: Sequence[Ask]) -> list[list[Text]]:
            return super().write(asks)[1:]

    with pytest.raises(DataError, match="'describe' answered 2 of 3 requests"):
        write_chain({"describe": Short(lambda a: "x")}, PICTURES, REQUESTS)
