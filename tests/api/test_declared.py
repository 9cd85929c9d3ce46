from __future__ import annotations

import pytest

import diptych
from diptych.api.declared import documentation, signature_of
from diptych.api.spelling import spell
from diptych.verbs.detect import Detect


def test_the_model_stands_behind_the_arguments_by_position() -> None:
    assert list(signature_of(Detect).parameters)[:2] == ["photos", "model"]
    assert "detector" not in signature_of(Detect).parameters  # over HTTP alone
    assert spell("rate") == "rate="


def test_the_docstring_states_ranges() -> None:
    assert "Must be in (0, 1)." in documentation(Detect)


def test_a_wrong_name_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="takes no nrmal=: did you mean normal="):
        diptych.detect([], nrmal=3)  # type: ignore[call-arg]
