from __future__ import annotations

from typing import Any

import pytest

import diptych
from diptych import catalog
from diptych.core import UsageError


def test_models_and_systems_are_listed() -> None:
    assert {"lite", "tiny", "ViT-B-32/laion2b_s34b_b79k"} <= set(diptych.list_models())
    assert diptych.list_models("TINY") == ["tiny"]
    assert diptych.list_systems() == list(catalog.slugs())
    assert diptych.list_systems(verb="classify") == catalog.of_verb("classify")
    with pytest.raises(UsageError, match="no system of 'clasify': the verbs are audit, caption, classify"):
        diptych.list_systems("clasify")


def test_models_are_listed_by_a_pattern_of_their_whole_name_or_of_what_stands_before_the_tag() -> None:
    every = diptych.list_models()
    assert diptych.list_models("vit-b-32/*") == [name for name in every if name.startswith("ViT-B-32/")]
    assert diptych.list_models("ViT-B-32") == [name for name in every if "vit-b-32" in name.lower()]
    assert diptych.list_models("*/openai") == [name for name in every if name.endswith("/openai")]
    assert diptych.list_models("EVA02-?-16") == [name for name in every if name.startswith("EVA02-B-16/")] != []
    assert diptych.list_models("nothing*") == []


@pytest.mark.parametrize(
    ("function", "given", "sentence"),
    [
        (diptych.list_models, {"pretrained": True}, "list_models takes no pretrained=: leave it out"),
        (diptych.list_models, {"filter": "ViT"}, "did you mean match="),
        (diptych.list_systems, {"task": "classify"}, "did you mean verb="),
    ],
)
def test_arguments_of_other_libraries_are_answered(function: Any, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        function(**given)
