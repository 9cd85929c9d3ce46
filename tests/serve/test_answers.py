"""Every field that a route of our own answers is described."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from diptych.serve import answers
from tests.support.serving import colour_uri

IMAGES = {"images": [colour_uri("red"), colour_uri("blue")]}
ASKED = [
    ("classify", {**IMAGES, "labels": ["red", "blue"]}, answers.ClassifyAnswer),
    (
        "classify",
        {**IMAGES, "labels": ["red", "blue"], "method": "perceptionclip", "reasons": 2},
        answers.ClassifyAnswer,
    ),
    ("classify", {**IMAGES, "classifier": "colour-classes", "sets": 0.9, "unknown_rate": 0.1}, answers.ClassifyAnswer),
    ("search", {"query": [{"text": "red"}, {"image": colour_uri("blue"), "weight": -0.3}]}, answers.SearchAnswer),
    ("caption", {**IMAGES, "texts": ["a red thing", "a blue thing"]}, answers.CaptionAnswer),
]


def described(answer: Any, told: Any) -> bool:
    """Whether all that an answer holds was read by its description."""
    if isinstance(answer, dict):
        return all(key in told and described(value, told[key]) for key, value in answer.items())
    if isinstance(answer, list):
        return len(answer) == len(told) and all(map(described, answer, told))
    return bool(answer == told)


def has_form(answer: Any, form: Any) -> bool:
    """Whether an answer has the described form, and nothing else."""
    adapter = TypeAdapter(form)
    return described(answer, adapter.dump_python(adapter.validate_python(answer), by_alias=True))


@pytest.mark.parametrize(("verb", "given", "form"), ASKED)
def test_answers_have_the_described_form(client: Any, verb: str, given: Any, form: Any) -> None:
    got = client.post(f"/v1/{verb}", json=given)
    assert got.status_code == 200, got.text
    assert has_form(got.json(), form)


def test_the_form_stands_in_the_description(client: Any) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    others = [("segment", {}, answers.SegmentAnswer), ("detect", {}, answers.DetectAnswer)]
    for verb, _, form in ASKED + others:
        content = paths[f"/v1/{verb}"]["post"]["responses"]["200"]["content"]["application/json"]
        assert content["schema"]["$ref"].endswith(f"/{form.__name__}")


def test_a_cut_is_described_and_what_is_not_is_found() -> None:
    cut = {"level": 0.8, "threshold": 2.0, "share": 0.81, "above": 40, "marks": 200, "queries": 20}
    cut |= {"depth": 10, "absent": 0.2, "words": 200, "interval": [0.7, 0.9], "source": "folder"}
    assert has_form(cut, answers.CutAnswer)
    assert not has_form({**cut, "more": 1}, answers.CutAnswer)
