"""Immich's requests as its server sends them (machine-learning.repository.ts); no client library makes them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from diptych.serve.model import ServedModel
from tests.support.servers.serving import colour_bytes

VISUAL = {"clip": {"visual": {"modelName": "ViT-B-32__openai"}}}
TEXTUAL = {"clip": {"textual": {"modelName": "ViT-B-32__openai", "options": {"language": "de"}}}}


def test_pictures_and_searches_get_vectors_in_a_string(client: Any, model: ServedModel) -> None:
    assert client.get("/ping").text == "pong"
    seen = client.post("/predict", data={"entries": json.dumps(VISUAL)}, files={"image": colour_bytes("red")})
    assert (seen.json()["imageHeight"], seen.json()["imageWidth"]) == (9, 12)
    response = client.post("/predict", files={"entries": (None, json.dumps(TEXTUAL)), "text": (None, "red")})
    vectors = [json.loads(answer.json()["clip"]) for answer in (seen, response)]
    assert np.dot(*vectors) > 0.9
    assert np.array_equal(np.array(vectors[1], np.float32), model.model.encode_text(["red"])[0])


@pytest.mark.parametrize(
    ("entries", "status"),
    [
        ("", 422),
        ("{}", 422),
        ("[1]", 422),
        (json.dumps({"facial-recognition": {"detection": {"modelName": "buffalo_l"}}}), 422),
        (json.dumps({"clip": {"visual": {"modelName": "not-served"}}}), 404),
        (json.dumps(TEXTUAL), 400),
    ],
)
def test_other_tasks_and_names_are_refused(client: Any, entries: str, status: int) -> None:
    answer = client.post("/predict", data={"entries": entries}, files={"image": colour_bytes("red")})
    assert answer.status_code == status
