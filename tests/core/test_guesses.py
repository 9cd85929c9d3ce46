"""One table of names that other libraries have, by class: the class is there, and the name is not."""

from __future__ import annotations

import importlib

import pytest

from diptych.core.guesses import GUESSES, guesses
from diptych.core.wording import lacks

CLASSES = {
    "Model": "api.model",
    "FittedSpace": "api.space",
    "EncodedRows": "api.encoded",
    "Predictor": "tasks.model",
    "Results": "api.results",
    "PhotoIndex": "api.photo_index",
    "Written": "api.curation",
    "Planned": "api.curation",
    "Segmented": "tasks.label_maps.segmented",
    "Detected": "tasks.detect",
    "Pair": "tasks.edit",
    "Captions": "tasks.caption",
    "LabelledData": "data.labelled",
    **dict.fromkeys(("audit", "board", "curate"), "api.derived"),
}


def test_every_entry_is_of_a_class_and_none_of_its_names_exists_there() -> None:
    assert set(GUESSES) == {*CLASSES, "Board"}  # a board is a Results
    for name, module in CLASSES.items():
        kind = getattr(importlib.import_module(f"diptych.{module}"), name)
        there = {n for n in GUESSES[name] if hasattr(kind, n)} - {"probabilities"}
        assert not there, (name, there)


def test_a_class_answers_for_its_base_classes_too_and_first_for_itself() -> None:
    class Written:
        pass

    class Planned(Written):
        pass

    assert guesses("Planned", "Written")["summary"] == "data"
    assert "use apply(out=...).to_pandas()" in str(lacks(Planned(), "rows"))
    assert "use to_pandas()" in str(lacks(Written(), "rows"))
    assert "use data." in str(lacks(Planned(), "summary"))
    assert "use mine." in str(lacks(Planned(), "rows", {"rows": "mine"}))
    with pytest.raises(KeyError):
        guesses("Nothing")["rows"]
