from __future__ import annotations

import pytest

from diptych.backbones.writers.wordnet import WordNetWriter
from diptych.core import Ask, Text, UsageError, Writer
from diptych.data.words.wordnet import WordNet


@pytest.fixture(scope="module")
def words() -> WordNet:
    return WordNet.load()


def values(writer: WordNetWriter, name: str, n: int = 20) -> list[str]:
    return [text.value for text in writer.write([Ask("Describe it.", name, n)])[0]]


def test_definition_broader_words_and_parts(words: WordNet) -> None:
    writer = WordNetWriter(words)
    assert isinstance(writer, Writer)
    assert values(writer, "Hat") == [
        "Hat, headdress that protects the head from bad weather; has shaped crown and usually a brim",
        "Hat, a kind of headdress",
        "Hat, which has a brim",
        "Hat, which has a crown",
        "Hat, which has a hatband",
    ]
    assert values(writer, "Hat", 2) == values(writer, "Hat")[:2]
    assert "dog, a kind of domestic animal" in values(writer, "dog")


def test_provenance(words: WordNet) -> None:
    text = WordNetWriter(words).write([Ask("Describe it.", "bicycle")])[0][0]
    assert text == Text(text.value, "wordnet-3.0", "Describe it.", "2006")


def test_an_ask_without_a_subject_is_about_its_prompt(words: WordNet) -> None:
    writer = WordNetWriter(words)
    assert writer.write([Ask("dog", n=3)])[0][0].value == values(writer, "dog")[0]


def test_articles_fit(words: WordNet) -> None:
    assert "airplane, which has an escape hatch" in values(WordNetWriter(words), "airplane")


def test_kinds_come_before_proper_names_and_senses_can_be_chosen(words: WordNet) -> None:
    assert words.senses("crane")[0].instance
    assert "1871" not in values(WordNetWriter(words), "crane")[0]
    assert values(WordNetWriter(words), "Eiffel Tower")[1] == "Eiffel Tower, an instance of tower"
    bird = next(s for s in words.senses("crane") if "wading bird" in s.gloss)
    assert "wading bird" in values(WordNetWriter(words, {"crane": bird.offset}), "crane")[0]


def test_unknown_nouns(words: WordNet) -> None:
    assert values(WordNetWriter(words), "zzzqx") == []
    with pytest.raises(UsageError, match=r"WordNet 3\.0 has no noun"):
        values(WordNetWriter(words, {"dog": 1}), "dog")
