"""Prompts that give each object a style of its own."""

from __future__ import annotations

import pytest

from diptych.core import UsageError
from diptych.data.words.styled_objects import parsed


def test_prompts_are_parsed_and_nothing_is_guessed() -> None:
    assert parsed(["a dog: red; The Cat in style of Van Gogh; cup as a sketch, in ink"]) == (
        ("dog", "red"),
        ("Cat", "Van Gogh"),
        ("cup", "a sketch, in ink"),
    )
    assert parsed(["dog: red, cat: blue"]) == parsed(["dog: red", "cat: blue"]) == (("dog", "red"), ("cat", "blue"))
    for bad, said in (("a red dog", "names no object"), ("dog: red; dog: blue", "two styles"), (" ; ", "no object")):
        with pytest.raises(UsageError, match=said):
            parsed([bad])
