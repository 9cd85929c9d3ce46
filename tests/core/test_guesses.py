"""One table of names that other libraries have, by class: the class is there, and the name is not."""

from __future__ import annotations

import importlib
import inspect
import pydoc
import re
from typing import Any

import pytest

import diptych as package
from diptych.core.guesses import GUESSES, guesses
from diptych.core.wording import lacks

diptych: Any = package
CLASSES = {
    "Model": "api.model",
    "FittedSpace": "api.space",
    "EncodedRows": "api.encoded",
    "Embeddings": "api.embeddings",
    "Prediction": "tasks.classified",
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


def test_advice_names_functions_and_arguments_that_are_there() -> None:
    calls = re.compile(r"diptych\.([\w.]+)\(([^()]*)\)")
    seen = 0
    for names in GUESSES.values():
        for use in names.values():
            for function, given in calls.findall(use.replace("systems.NAME", "systems.GDA")):
                target: Any = pydoc.locate(f"diptych.{function}")
                arguments = inspect.signature(target).parameters
                words = {word.partition("=")[0].strip() for word in given.split(",") if "=" in word}
                assert words <= set(arguments), use
                seen += 1
    assert seen > 30


def test_a_predictor_is_a_classifier_of_classify_as_its_advice_says() -> None:
    data, model = diptych.open_data("demo:clothes"), diptych.load("tiny", engine="torch")
    predictor = diptych.systems.GDA(alpha=1.0).fit(model, data["test"].take(range(0, 138, 10)))
    with pytest.raises(AttributeError, match=r"use diptych.classify\(photos, classifier=predictor\)"):
        predictor.to_pandas  # noqa: B018
    photos = [data["test"].items[i] for i in range(2)]
    results = diptych.classify(photos, model=model, classifier=predictor)
    assert list(results.labels) == list(predictor.predict(photos))
