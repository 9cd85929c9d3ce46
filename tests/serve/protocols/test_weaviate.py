"""Weaviate's requests as its module multi2vec-clip sends them; its client never speaks to this service itself."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from diptych.serve.model import ServedModel
from tests.support.servers.serving import colour_bytes


def test_texts_and_pictures_are_vectorised_together(client: Any, model: ServedModel) -> None:
    body = {"texts": ["red", "blue"], "images": [base64.b64encode(colour_bytes("blue")).decode()]}
    answer = client.post("/vectorize", json=body).json()
    assert np.array_equal(np.array(answer["textVectors"], np.float32), model.model.encode_text(["red", "blue"]))
    scores = np.array(answer["textVectors"]) @ np.array(answer["imageVectors"])[0]
    assert scores[1] > scores[0]
    assert client.post("/vectorize", json={}).status_code == 400


def test_weaviate_sees_that_the_service_lives(client: Any) -> None:
    assert client.get("/.well-known/live").status_code == client.get("/.well-known/ready").status_code == 204
    assert client.get("/meta").json()["dimensions"] == 4
