from __future__ import annotations

import pytest

from diptych.nn.text.vocabulary import BEGIN, END, UNKNOWN, Vocabulary, join, split

EMOJI = ("😀", "❤️", "👍🏽", "🇩🇪", "👨\u200d👩\u200d👧")


@pytest.mark.parametrize("emoji", EMOJI)
def test_an_emoji_is_one_token_whatever_it_is_made_of(emoji: str) -> None:
    assert split(f"a fox{emoji}{emoji}, red") == ["a", "fox", emoji, emoji, ",", "red"]


def test_marks_of_users_are_learnt_and_written_again() -> None:
    v = Vocabulary.of(["Wow! A fox at #dawn 😀", "a fox, again"])
    ids = v.encode("a fox at #dawn!", 8)
    assert UNKNOWN not in ids
    assert v.plain(ids[1:]) == "a fox at #dawn!"
    assert v.decode(ids[1:]) == "A fox at #dawn!"
    assert v.decode(v.encode("wow 😀", 8)[1:]) == "Wow 😀"
    assert v.decode(v.encode("a fox at #dawn", 8)[1:]) == "A fox at #dawn."
    assert join(split("a fox, 2 # signs")) == "a fox, 2 #signs"


def test_other_punctuation_is_dropped() -> None:
    assert split("It's a fox (red) - or; not? http://a.b") == ["it's", "a", "fox", "red", "or", "not", "http", "a", "b"]


def test_a_vocabulary_without_these_marks_reads_texts_as_it_did() -> None:
    v = Vocabulary(("a", "fox"))
    assert v.encode("a fox! #a 😀", 8) == [BEGIN, 4, 5, 4, END]
    assert v.encode("a fox, cat", 8) == [BEGIN, 4, 5, UNKNOWN, UNKNOWN, END]
