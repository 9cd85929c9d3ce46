from __future__ import annotations

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
