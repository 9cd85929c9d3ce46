"""Every field that a route of our own answers is described."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter

import diptych
from diptych.api.model import Model
from diptych.core import Run
from diptych.methods.detect.feature_memory import FeatureMemory
from diptych.metrics.cut import Cut
from diptych.serve import answers
from diptych.serve.protocols import (
    cohere,
    health,
    huggingface,
    immich,
    label_studio_answers,
    openai,
    rerank,
    weaviate,
)
from diptych.tasks.search.marks import CutAnswerRow, CutAnswers
from tests.support.dense_colours import DenseColours, halves
from tests.support.scratches import scratched
from tests.support.servers.serving import colour_bytes, colour_uri

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


MESSAGES = [{"role": "user", "content": [{"type": "text", "text": "red"}]}]
TASKS = {
    "tasks": [{"id": 1, "data": {"image": colour_uri("red")}}],
    "label_config": '<View><Image name="i" value="$image"/><Choices name="c" toName="i"><Choice value="red"/>'
    '<Choice value="blue"/></Choices></View>',
}
OTHERS: list[tuple[str, str, Any, Any]] = [
    ("get", "/v1/models", None, openai.ModelsAnswer),
    ("get", "/v1/models/colours", None, openai.ModelFacts),
    ("post", "/v1/embeddings", {"input": ["red", colour_uri("red")]}, openai.EmbeddingsAnswer),
    ("post", "/v1/embeddings", {"messages": MESSAGES, "encoding_format": "base64"}, openai.EmbeddingsAnswer),
    ("post", "/v1/rerank", {"query": "a", "documents": ["b"], "return_documents": True}, rerank.RerankAnswer),
    ("post", "/v2/embed", {"texts": ["a"], "embedding_types": ["float", "int8", "base64"]}, cohere.EmbedAnswer),
    ("post", "/v2/embed", {"images": [colour_uri("red")]}, cohere.EmbedAnswer),
    ("post", "/v1/embed", {"texts": ["red"]}, cohere.FloatsAnswer),
    ("post", "/setup", {}, label_studio_answers.SetupAnswer),
    ("post", "/webhook", {"action": "START_TRAINING"}, label_studio_answers.WebhookAnswer),
    ("post", "/predict", TASKS, label_studio_answers.PredictAnswer),
    ("post", "/vectorize", {"texts": ["red"]}, weaviate.VectorizeAnswer),
    ("get", "/meta", None, weaviate.MetaAnswer),
    ("post", "/hf/feature-extraction", {"inputs": "red"}, list[list[float]]),
    (
        "post", "/hf/zero-shot-image-classification",
        {"inputs": colour_uri("red"), "parameters": {"candidate_labels": ["red", "blue"]}},
        list[huggingface.LabelScore],
    ),
    ("get", "/health", None, health.Health),
    ("get", "/ready", None, health.Readiness),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "given", "form"), OTHERS)
def test_answers_in_the_form_of_others_have_the_described_form(
    client: Any, method: str, path: str, given: Any, form: Any
) -> None:
    got = client.request(method, path, json=given)
    assert got.status_code in (200, 201), got.text
    assert has_form(got.json(), form)


def test_immich_gets_the_described_form(client: Any) -> None:
    for kind, sent in (("textual", {"data": {"text": "red"}}), ("visual", {"files": {"image": colour_bytes("red")}})):
        entries = json.dumps({"clip": {kind: {"modelName": "ViT-B-32__openai"}}})
        got = client.post("/predict", **{**sent, "data": {"entries": entries, **sent.get("data", {})}})
        assert got.status_code == 200, got.text
        assert has_form(got.json(), immich.ClipAnswer)


def test_every_answer_of_json_is_typed(client: Any) -> None:
    """So that generated clients have types: no answer is any value, nor any object."""
    description = client.get("/openapi.json").json()
    for path, methods in description["paths"].items():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                if status.startswith("2") and "application/json" in answer.get("content", {}):
                    schema = answer["content"]["application/json"]["schema"]
                    assert "$ref" in schema or "anyOf" in schema or "$ref" in schema.get("items", {}) or (
                        schema["items"]["items"]["type"] == "number"
                    ), (path, schema)  # fmt: skip


def test_a_cut_is_described_and_what_is_not_is_found() -> None:
    cut = CutAnswers(Cut(0.8, 2.0, 0.81, 0.7, 0.9, 40, 200, 20, 10, 0.2, 200), "folder", (0.9,)).as_dict()
    form = answers.described(CutAnswerRow)
    assert has_form(cut, form)
    assert not has_form({**cut, "more": 1}, form)


def test_results_of_python_have_the_described_form_too() -> None:
    model = Model(DenseColours(), Run())
    maps = diptych.segment([halves("red", "blue")], ["red", "blue"], model, things="red", confidence=True)
    assert has_form(json.loads(maps.to_json()), answers.SegmentAnswer)
    photos, normal = scratched(4, 4, seed=3).items, scratched(24, 0, seed=1).items
    with pytest.warns(UserWarning, match="flagged above"):
        scores = diptych.detect(photos, model, normal=normal, rate=0.1, method=FeatureMemory(side=40))
    assert has_form(json.loads(scores.to_json()), answers.DetectAnswer)


def test_a_key_that_may_be_absent_is_not_required_and_never_null() -> None:
    schema = TypeAdapter(answers.ClassifyAnswer).json_schema()
    row = schema["$defs"]["Labelled"]
    assert (row["required"], row["properties"]["unknown"]["type"]) == (["path", "labels"], "boolean")
    assert {"sets", "model"}.isdisjoint(schema["required"])
