"""A setting outside of its range is refused in one sentence that shows the value."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from diptych.core import Range, UsageError
from diptych.core.ranges import above, at_least, between, check, one_of


@dataclass(frozen=True)
class Settings:
    number: float | None = None
    word: str = "mean"
    sizes: tuple[int, ...] = (1, 2)


@pytest.mark.parametrize(
    ("allowed", "inside", "outside", "words"),
    [
        (at_least(1), (1, 2.5, math.inf), (0, 0.999, -1, math.nan), "at least 1"),
        (above(0), (1e-9, 3), (0, 0.0, -1, math.nan), "above 0"),
        (between(0, 1), (0, 0.5, 1), (-0.1, 1.3, math.nan), "in [0, 1]"),
        (between(0, 1, "[)"), (0, 0.99), (1, math.nan), "in [0, 1)"),
        (between(0, 1, "(]"), (1, 0.01), (0, math.nan), "in (0, 1]"),
        (between(-1, 1, "()"), (0,), (-1, 1, math.nan), "in (-1, 1)"),
        (one_of("mean", "max"), ("mean", "max"), ("sum", "", None), "one of 'mean', 'max'"),
    ],
)
def test_a_range_holds_what_its_words_say(
    allowed: Range, inside: tuple[float, ...], outside: tuple[float, ...], words: str
) -> None:
    assert allowed.words == words
    assert all(allowed.holds(value) for value in inside)
    assert not any(allowed.holds(value) for value in outside)


def test_the_error_shows_name_range_value_and_remedy() -> None:
    for settings, allowed, name, said in (
        (Settings(1.3), between(0, 1), "number", "number must be in [0, 1], got 1.3: give another, or"),
        (Settings(word="sum"), one_of("mean"), "word", "word must be one of 'mean', got 'sum': give another"),
        (Settings(sizes=(3, 0)), at_least(1), "sizes", "sizes must be at least 1, got (3, 0): give"),
        (Settings(sizes=()), at_least(1), "sizes", "sizes must be at least 1, got (): give"),
    ):
        with pytest.raises(UsageError) as error:
            check(settings, allowed, name)
        assert str(error.value).startswith(said)
    with pytest.raises(UsageError, match=r"or leave it out for 'mean'\.$"):
        check(Settings(word=""), one_of("mean"), "word")
    with pytest.raises(UsageError, match=r"or leave it out\.$"):
        check(Settings(-1), at_least(0), "number")


def test_none_is_in_every_range() -> None:
    check(Settings(), at_least(1), "number", "sizes")
