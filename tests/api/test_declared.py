from __future__ import annotations

import inspect

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


def test_the_model_where_none_is_given_is_the_one_that_is_taken() -> None:
    """search= took the model of its index, and its help said lite."""
    said = {verb: inspect.getdoc(getattr(diptych, verb)) or "" for verb in ("search", "index", "detect", "recommend")}
    assert "or None for that of the index." in said["search"]
    assert "or None for that of the index, or ``lite`` where it is made." in said["index"]
    assert "or None for that of ``fitted``, else ``lite``." in said["detect"]
    assert "or None for ``lite``." in said["recommend"]
