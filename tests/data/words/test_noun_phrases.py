"""Noun phrases that name things."""

from __future__ import annotations

import pytest

from diptych.data.words.noun_phrases import names_an_object, noun_phrases


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
    assert names_an_object("boxes")
    assert names_an_object("babies")
    assert not names_an_object("corner")
    assert not names_an_object("happiness")
    assert not names_an_object("qwxyz")
