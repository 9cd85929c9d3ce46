from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import diptych
from diptych.api.loading import model_of
from tests.support.colours import COLOURS, ColourBackbone
from tests.support.servers.serving import colour_bytes, colour_uri


def post(client: Any, **given: Any) -> Any:
    return client.post("/v1/classify", json={"images": [colour_uri("red"), colour_uri("blue")], **given})


def test_answers_are_those_of_the_command(client: Any, tmp_path: Path) -> None:
    labels = ["red", "green", "blue"]
    answer = post(client, labels=labels, top=2, threshold=0.1).json()
    paths = []
    for colour in ("red", "blue"):
        paths.append(tmp_path / f"{colour}.png")
        paths[-1].write_bytes(colour_bytes(colour))
    expected = diptych.classify(paths, labels, model_of(ColourBackbone()), top=2, threshold=0.1).as_dict()
    assert [p["labels"] for p in answer["predictions"]] == [p["labels"] for p in expected["predictions"]]
    own_times = ("predictions", "seconds")
    assert {k: v for k, v in answer.items() if k not in own_times} == {
        k: v for k, v in expected.items() if k not in own_times
    }


def test_names_in_a_language_that_the_model_does_not_read_get_a_remark(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = ColourBackbone.spec
    monkeypatch.setattr(ColourBackbone, "spec", property(lambda self: replace(known.__get__(self), languages=("en",))))
    (remark,) = post(client, labels=["Katze", "Hund"]).json()["remarks"]
    assert remark.startswith("colours reads only English, and Katze and Hund have no English noun")


def test_a_label_may_list_the_words_of_its_class(client: Any) -> None:
    answer = post(client, labels=["red|green", "blue"]).json()
    assert answer["classnames"] == ["red", "blue"]
    alone = post(client, labels=["red", "blue"]).json()
    assert answer["predictions"][0]["labels"] != alone["predictions"][0]["labels"]


def test_a_classifier_gives_sets_and_unknown(client: Any) -> None:
    answer = post(client, classifier="colour-classes", sets=0.9, unknown_rate=0.1).json()
    assert [p["labels"][0]["label"] for p in answer["predictions"]] == ["red", "blue"]
    assert all(p["labels"][0]["label"] in p["set"] and p["unknown"] is False for p in answer["predictions"])
    assert answer["calibration_items"] == 40


def test_other_systems_that_names_are_enough_for_answer_too(client: Any) -> None:
    answer = post(client, labels=list(COLOURS), method="perceptionclip")
    assert answer.status_code == 200, answer.text
    assert answer.json()["method"] == "perceptionclip"


@pytest.mark.parametrize("word", ["NaN", "Infinity"])
def test_a_threshold_that_is_no_number_is_refused(client: Any, word: str) -> None:
    body = json.dumps({"images": [colour_uri("red")], "labels": ["a"], "threshold": float(word)})
    answer = client.post("/v1/classify", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, "threshold" in answer.json()["message"]) == (400, True)


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ({}, 400, "either labels or"),
        ({"labels": ["a"], "classifier": "colour-classes"}, 400, "either labels or"),
        ({"labels": ["a"], "sets": 0.9}, 400, "calibrated classifier"),
        ({"labels": ["a", "a"]}, 400, "unique"),
        ({"labels": ["a"], "templates": ["none"]}, 400, "{}"),
        ({"labels": ["a"], "top": 0}, 400, "at least 1"),
        *(({"labels": ["a"], "threshold": t}, 400, f"in [0, 1], got {t:g}") for t in (7.0, -5.0)),
        ({"labels": ["a"] * 2000}, 400, "at most 1000"),
        ({"labels": ["a"], "method": "gda"}, 400, "learns from photos"),
        ({"labels": ["a"], "method": "no-such"}, 400, "no-such"),
        ({"classifier": "no-such"}, 404, "there is colour-classes"),
        ({"labels": ["a"], "model": "no-such"}, 404, "use colours"),
        ({"labels": ["a"], "images": []}, 400, "1 to 8 inputs"),
    ],
)
def test_requests_that_mean_nothing_get_a_sentence(client: Any, given: Any, status: int, words: str) -> None:
    answer = post(client, **given)
    assert answer.status_code == status
    assert words in answer.json()["message"]
