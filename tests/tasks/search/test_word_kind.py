from __future__ import annotations

import pytest

from diptych.tasks.search.absent import picture_nouns
from diptych.tasks.search.word_kind import word_kind


@pytest.mark.parametrize("noun", picture_nouns()[::40])
def test_nouns_that_photos_show_are_things_with_an_article_too(noun: str) -> None:
    assert word_kind(noun) == word_kind(f"The {noun} ") == "thing"


@pytest.mark.parametrize("text", ["running", "snowy", "happiness", "zzxq", "a dog on a sofa", "a", "", "  "])
def test_activities_looks_and_phrases_are_other_words(text: str) -> None:
    assert word_kind(text) == "other"


def test_what_is_far_narrower_or_broader_is_another_word() -> None:
    assert word_kind("cocker spaniel") == word_kind("a leopard") == "thing"
    assert word_kind("entity") == word_kind("object") == "other"
