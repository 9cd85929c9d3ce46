from __future__ import annotations

import pytest

from diptych.data.words.absent import absent_nouns, picture_nouns
from diptych.data.words.wordnet import WordNet


@pytest.fixture(scope="module")
def wordnet() -> WordNet:
    return WordNet.load()


def test_the_list_holds_nouns_of_wordnet_once_and_sorted(wordnet: WordNet) -> None:
    words = picture_nouns()
    assert words == sorted(set(words))
    assert all(word in wordnet for word in words)
    assert {"giraffe", "guitar", "bridge"} < set(words)


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("two dogs", ["dog", "animal", "poodle", "corgi"]),  # plural, broader, narrower
        ("train/grand_piano", ["piano"]),
        ("GrandPiano", ["piano"]),
        ("an elephant", ["elephant", "mammoth"]),
        ("a car", ["car", "convertible"]),
    ],
)
def test_words_near_a_text_are_left_out(wordnet: WordNet, text: str, gone: list[str]) -> None:
    drawn = absent_nouns([text], wordnet, 1000, seed=0)
    listed = set(picture_nouns())
    assert not set(gone) & set(drawn)
    assert {"giraffe", "violin", "cave"} & listed <= set(drawn)
    assert set(drawn) < listed


def test_the_seed_draws_and_more_words_begin_with_the_same(wordnet: WordNet) -> None:
    few, many = (absent_nouns(["a dog"], wordnet, n, seed=3) for n in (10, 50))
    assert many[:10] == few
    assert absent_nouns(["a dog"], wordnet, 10, seed=4) != few
    assert absent_nouns([], wordnet, 10_000, seed=0) != []
    assert absent_nouns([" ".join(picture_nouns())], wordnet, 10, seed=0) == []
