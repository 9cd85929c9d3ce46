"""Noun phrases that name things."""

from __future__ import annotations

import pytest

from diptych.data.words.noun_phrases import names_a_thing, noun_phrases


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A white truck with a dog standing on it's roof.", ("white truck", "dog", "roof")),
        ("Two men and three women are near the old stone church", ("men", "women", "old stone church")),
        ("The top of a nice idea on Monday", ()),
        ("A dog, a dog and a cat", ("dog", "cat")),
        ("", ()),
    ],
)
def test_phrases(caption, expected) -> None:
    assert noun_phrases(caption) == expected


def test_things() -> None:
    assert names_a_thing("boxes")
    assert names_a_thing("babies")
    assert not names_a_thing("corner")
    assert not names_a_thing("happiness")
    assert not names_a_thing("qwxyz")
