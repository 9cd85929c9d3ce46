from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from huggingface_hub import InferenceClient

from diptych.serve.model import ServedModel
from tests.support.servers.serving import colour_bytes


def test_the_official_client_classifies_by_names(address: str) -> None:
    official = InferenceClient(model=f"{address}/hf/zero-shot-image-classification")
    found = official.zero_shot_image_classification(
        colour_bytes("green"), candidate_labels=["red", "green", "blue"], hypothesis_template="something {}"
    )
    assert next(x.label for x in found) == "green"
    assert sum(x.score for x in found) == pytest.approx(1, abs=1e-6)
    assert found[0].score >= found[1].score >= found[2].score


def test_the_official_client_gets_features(address: str, model: ServedModel) -> None:
    official = InferenceClient(model=f"{address}/hf/feature-extraction")
    found = official.feature_extraction("red")
    assert np.array_equal(np.asarray(found, np.float32).reshape(-1), model.model.encode_text(["red"])[0])


def test_the_official_client_is_answered_at_the_address_of_the_server(
    address: str, client: Any, model: ServedModel
) -> None:
    official, vector = InferenceClient(model=address), model.model.encode_text(["red"])[0]
    found = official.zero_shot_image_classification(colour_bytes("green"), candidate_labels=["red", "green"])
    assert found[0].label == "green"
    assert np.array_equal(np.asarray(official.feature_extraction("red"), np.float32).reshape(-1), vector)
    as_inference_server = client.post("/embed", json={"inputs": ["red"], "truncate": True}).json()
    assert np.array_equal(np.asarray(as_inference_server, np.float32)[0], vector)


@pytest.mark.parametrize("given", [{}, {"inputs": ["x"]}, {"inputs": "x", "parameters": {"candidate_labels": [1]}}])
def test_requests_without_labels_get_a_sentence(client: Any, given: dict[str, Any]) -> None:
    answer = client.post("/hf/zero-shot-image-classification", json=given)
    assert answer.status_code == 400
