from __future__ import annotations

from diptych.data.words.wordnet import WordNet
from diptych.tasks.search.absent import picture_nouns as listed
from recipes.picture_nouns import picture_nouns, roots


def test_things_that_a_photo_shows_are_taken_and_others_are_not() -> None:
    wordnet = WordNet.load()
    tokens = {"dog", "violin", "bridge", "truth", "jump", "man", "dogs", "ab", "paris", "sand", "bitch"}
    assert len(roots(wordnet)) == 4
    assert picture_nouns(wordnet, tokens) == ["bridge", "dog", "violin"]


def test_the_list_that_ships_holds_such_nouns_alone() -> None:
    some = listed()[::20]
    assert picture_nouns(WordNet.load(), set(some)) == some
