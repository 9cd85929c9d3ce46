from __future__ import annotations

import subprocess
import sys
from importlib.resources import files

import pyarrow.parquet as pq
import pytest

from diptych.data.words.english import _nouns, not_english, without_english


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
        ("playing cards", "foxes", "cities", "a jumped horse"),
    ],
)  # fmt: skip
def test_english_names_short_ones_and_numbers_are_not(names: tuple[str, ...]) -> None:
    assert not_english(names, "lite", ["en"]) == ""


def test_a_few_foreign_names_among_english_ones_are_remarked() -> None:
    remark = not_english(["dog", "cat", "Hund"], "lite", ["en"])
    assert remark.startswith("lite reads only English, and Hund has no English noun: if it is in another language, ")
    assert "answers that name it are no better than chance, so translate it" in remark
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
