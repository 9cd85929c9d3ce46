from __future__ import annotations

import pytest

from diptych.data.words.english import not_english, without_english


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
        ("dachshund", "oystercatcher"), ("children playing", "two mice"), ("a", "b2"), ("1", "2"), ("dog", "Katze"), (),
        ("playing cards", "foxes", "cities", "a jumped horse"),
    ],
)  # fmt: skip
def test_english_names_short_ones_and_numbers_are_not(names: tuple[str, ...]) -> None:
    assert not_english(names, "lite", ["en"]) == ""


def test_words_are_looked_up_in_every_case_and_signs_part_them() -> None:
    assert without_english(["HUND", "Golden-Retriever", "kleiner Hund_2", "T-shirt"]) == ["HUND", "kleiner Hund_2"]
