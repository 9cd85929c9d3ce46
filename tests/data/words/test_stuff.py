from __future__ import annotations

import pytest

from diptych.data.words.stuff import PHRASES, WORDS, stuff_phrases


def test_each_kind_has_words_and_phrases_and_no_word_two_kinds() -> None:
    assert set(PHRASES) == set(WORDS)
    words = [word for line in WORDS.values() for word in line.split(", ")]
    assert len(words) == len(set(words)) == 69
    assert all("{}" in phrase for phrases in PHRASES.values() for phrase in phrases)


@pytest.mark.parametrize(
    ("word", "first"),
    [
        ("sky", "an object against the sky"),
        ("Trees", "something in the trees"),
        ("wooden table", "furniture against the wooden table"),
        ("beaches", "an animal on the beaches"),
        ("grass", "an animal on the grass"),
    ],
)
def test_stuff_is_known_by_the_last_part_of_a_name(word: str, first: str) -> None:
    assert stuff_phrases(word)[0] == first


@pytest.mark.parametrize("word", ["cat", "table lamp", "skyline", "", "  "])
def test_things_have_no_phrases(word: str) -> None:
    assert stuff_phrases(word) == ()


def test_a_word_may_have_braces() -> None:
    assert stuff_phrases("{} sky")[0] == "an object against the {} sky"
