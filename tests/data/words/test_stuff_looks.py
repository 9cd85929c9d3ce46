from __future__ import annotations

from diptych.data.words.stuff import WORDS
from diptych.data.words.stuff_looks import LOOK_WORDS, LOOKS, PHOTO, looks_of


def test_each_kind_has_words_and_looks_and_every_word_is_known_as_stuff() -> None:
    assert set(LOOKS) == set(LOOK_WORDS)
    words = [word for line in LOOK_WORDS.values() for word in line.split(", ")]
    assert len(words) == len(set(words))
    assert set(words) <= {word for line in WORDS.values() for word in line.split(", ")}
    assert all(deviation > 0 for looks in LOOKS.values() for look in looks for _, deviation in look)


def test_a_class_has_the_looks_of_its_words_once() -> None:
    assert looks_of(["grass", "Meadows"]) == LOOKS["grass"]
    assert looks_of(["sky", "grass"]) == LOOKS["air"] + LOOKS["grass"]
    assert looks_of(["wall"]) == looks_of(["dog"]) == looks_of([""]) == ()


def test_a_class_with_a_word_that_may_look_like_anything_is_never_ruled_out() -> None:
    assert looks_of(["dog", "sky", "cat"]) == (*LOOKS["air"], PHOTO)
