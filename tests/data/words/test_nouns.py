from __future__ import annotations

from typing import Any

import pytest

from diptych.core import MissingExtra, NotAvailable
from diptych.data.words import nouns as module
from diptych.data.words.nouns import is_object, nouns, singular
from diptych.data.words.wordnet import WordNet


@pytest.fixture(scope="module")
def wordnet() -> WordNet:
    return WordNet.load()


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("Two black dogs and a man's hat .", ("dog", "man", "hat")),
        ("The women are standing in the water", ("woman", "water")),
        ("A hot dog beside a tennis racket; hot dogs", ("hot dog", "tennis racket")),
        ("He jumps high", ()),
        ("", ()),
    ],
)
def test_nouns_of_captions(caption: str, found: tuple[str, ...], wordnet: WordNet) -> None:
    assert nouns(caption, wordnet) == found


@pytest.mark.parametrize(
    ("plural", "one"),
    [
        ("churches", "church"),
        ("cherries", "cherry"),
        ("buses", "bus"),
        ("children", "child"),
        ("tennis balls", "tennis ball"),
        ("zzz", None),
    ],
)
def test_plurals(plural: str, one: str | None, wordnet: WordNet) -> None:
    assert singular(plural, wordnet) == one


def test_things_are_physical_and_no_processes(wordnet: WordNet) -> None:
    assert is_object("dog", wordnet)
    assert is_object("water", wordnet)
    assert not is_object("blue", wordnet)  # a colour
    assert not is_object("erosion", wordnet)  # a process


class _Nltk:
    """A tagger that knows one noun, as nltk's would be with its data."""

    @staticmethod
    def pos_tag(words: list[str]) -> list[tuple[str, str]]:
        return [(w, "NN" if w == "stand" else "VBZ") for w in words]


def test_a_tagger_decides_by_the_sentence(wordnet: WordNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_tag", lambda: _Nltk.pos_tag)
    monkeypatch.setattr(module, "_NOT", frozenset({"a"}))
    assert nouns("a dog jumps on a stand", wordnet, "nltk") == ("stand",)


def test_what_the_tagger_lacks_is_named(wordnet: WordNet, monkeypatch: pytest.MonkeyPatch) -> None:
    import nltk

    def lost(words: Any) -> None:
        raise LookupError("no data")

    module._tag.cache_clear()
    monkeypatch.setattr(nltk, "pos_tag", lost)
    with pytest.raises(NotAvailable, match="averaged_perceptron_tagger_eng"):
        nouns("a dog", wordnet, "nltk")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="pip install nltk"):
        nouns("a dog", wordnet, "nltk")
