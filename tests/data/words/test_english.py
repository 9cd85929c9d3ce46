from __future__ import annotations

import subprocess
import sys
from importlib.resources import files

import pyarrow.parquet as pq
import pytest

from diptych.data.words.english import _nouns, negated, not_english, without_english


@pytest.mark.parametrize(
    "names", [("Hund", "Katze", "Auto"), ("perro", "gato", "coche"), ("犬", "猫", "車"), ("собака",)]
)
def test_names_in_another_language_are_remarked(names: tuple[str, ...]) -> None:
    remark = not_english(names, "lite", ["en"])
    assert remark.startswith("lite reads only English, and ")
    assert "no better than chance" in remark
    assert not_english(names, "local:tuned", ["en"]).startswith("local:tuned reads only English, and ")
    for languages in ([], ["en", "de"]):
        assert not_english(names, "lite", languages) == ""


@pytest.mark.parametrize(
    "names",
    [
        ("dachshund", "oystercatcher"), ("children playing", "two mice"), ("a", "b2"), ("1", "2"), (),
        ("rusty", "wheel", "door"), ("longsleeve", "hat", "dress"), ("uneven", "crack", "hole"),
        ("playing cards", "foxes", "cities", "a jumped horse"), ("screenshot",), ("two selfies",),
        ("smartphone", "hoodie"),
    ],
)  # fmt: skip
def test_english_names_short_ones_and_numbers_are_not(names: tuple[str, ...]) -> None:
    assert not_english(names, "lite", ["en"]) == ""


def test_a_few_foreign_names_among_english_ones_are_remarked() -> None:
    remark = not_english(["dog", "cat", "Hund"], "lite", ["en"])
    assert remark.startswith("lite reads only English, and Hund has no English noun: if it is misspelt or in another ")
    assert "answers that name it are no better than chance, so correct or translate it" in remark
    two = not_english(["rusty", "dog", "perro", "car", "house", "Fahrrad"], "lite", ["en"])
    assert "perro and Fahrrad have no English noun" in two
    assert not_english(["dog", "cat", "猫"], "lite", ["en"])


def test_words_are_looked_up_in_every_case_and_signs_part_them() -> None:
    assert without_english(["HUND", "Golden-Retriever", "kleiner Hund_2", "T-shirt"]) == ["HUND", "kleiner Hund_2"]


def test_the_words_are_those_of_wordnets_table() -> None:
    table = pq.read_table(str(files("diptych") / "data" / "words" / "wordnet_nouns.parquet"), columns=["lemmas"])
    lemmas = {lemma.lower() for row in table["lemmas"].to_pylist() for lemma in row}
    every = {*lemmas, "Hund", "hund", "katze", ""}
    assert _nouns(every) == {lemma for lemma in lemmas if lemma.isalpha()}


def test_names_are_looked_up_without_pyarrow() -> None:
    looks = "import sys; from diptych.data.words.english import not_english; not_english(['Hund'], 'lite', ['en'])"
    loaded = f"{looks}; print([m for m in ('pyarrow', 'pandas') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("text", ["ein Kind im Park", "ein Auto", "zwei Frauen mit Gelato", "une rose", "EINE Rose"])
def test_a_phrase_with_an_article_of_another_language_is_remarked_though_it_has_an_english_noun(text: str) -> None:
    assert not_english([text], "lite", ["en"]).startswith(f"lite reads only English, and {text} looks like another ")
    among = not_english(["a dog", "a cat", text], "lite", ["en"])
    assert f"{text} looks like another language: answers that name it" in among


def test_a_word_alone_and_english_phrases_are_no_other_language() -> None:
    assert not_english(["drei"], "lite", ["en"]) != not_english(["ein Auto"], "lite", ["en"])
    assert not_english(["a man in a park", "no cars", "Los Angeles", "an MIT building"], "lite", ["en"]) == ""


@pytest.mark.parametrize(
    "text",
    ["Das Boot", "Das Boot movie poster", "a poster of Das Boot", "Die Hard", "Der Spiegel",
     "Rogier van der Weyden", "a portrait by Rogier van der Weyden"],
)  # fmt: skip
def test_titles_and_names_are_no_other_language(text: str) -> None:
    assert not_english(["a dog", text], "lite", ["en"]) == ""


@pytest.mark.parametrize(
    "text",
    [
        "das Boot",
        "das Auto im Park",
        "Das Auto und der Ball",
        "Ein Auto und ein Ball",
        "Ein Auto",
        "Eine Katze",
        "der Ball",
        "een hand",
        "una rosa",
    ],
)
def test_a_capital_at_the_start_makes_no_title(text: str) -> None:
    assert not_english(["a dog", text], "lite", ["en"]) != ""


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("not a cat", "not"),
        ("a street without cars", "without"),
        ("No people", "no"),
        ("No People", "no"),
        ("Beach At Night, No People", "no"),
        ("NO CARS", "no"),
        ("a cat that isn't black", "isn't"),
        ("Don\u2019t show people", "don\u2019t"),
        ("a house with no windows", "no"),
        ("a sky never seen before", "never"),
        ("a photo of 5 dogs, no cats", "no"),
    ],
)
def test_a_negation_is_remarked(text: str, word: str) -> None:
    remark = negated(["a dog", text], "lite")
    assert remark.startswith(f'Models such as lite hardly read "{word}", so ')
    assert "{minus}" in remark


@pytest.mark.parametrize(
    "text",
    ["no. 5", "No 5", "a bottle of No. 5", "house no 12", "No5", "Dr. No", "No Country for Old Men",
     "Never Let Me Go", "Don't Look Up", "a forget me not", "a forget-me-not", "a no-entry sign", "a no parking sign",
     "a no swimming sign", "not only cats", "a note", "a knot", "piano"],
)  # fmt: skip
def test_numbers_names_titles_and_signs_are_no_negation(text: str) -> None:
    assert negated([text], "lite") == ""


def test_a_remark_repeats_no_more_of_a_text_than_one_reads() -> None:
    remark = not_english(["x" * 1500], "lite", ["en"])
    assert f"and {'x' * 60}… has no English noun" in remark
