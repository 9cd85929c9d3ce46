from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import InferenceClient
from PIL import Image
from starlette.testclient import TestClient

import diptych
from diptych.serve.assembly import Content, server
from diptych.serve.model import ServedModel
from diptych.serve.opening import open_fitted
from diptych.serve.service import Service
from diptych.serve.settings import Settings
from tests.support.colours import COLOURS
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


def test_long_texts_are_cut_where_the_client_says_so(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = list[object]()
    embed = Service.embed

    async def recorded(self: Service, *given: Any, cut: Any = None) -> Any:
        cuts.append(cut)
        return await embed(self, *given, cut=cut)

    monkeypatch.setattr(Service, "embed", recorded)
    for more in ({}, {"truncate": True}, {"truncate": True, "truncation_direction": "Left"}, {"truncate": False}):
        assert client.post("/embed", json={"inputs": "red", **more}).status_code == 200
    assert cuts == [None, "end", "start", ""]
    refused = client.post("/embed", json={"inputs": "red", "truncation_direction": "up"})
    assert (refused.status_code, "left" in refused.json()["message"]) == (400, True)


def test_the_official_client_is_answered_at_the_address_of_the_server(
    address: str, client: Any, model: ServedModel
) -> None:
    official, vector = InferenceClient(model=address), model.model.encode_text(["red"])[0]
    found = official.zero_shot_image_classification(colour_bytes("green"), candidate_labels=["red", "green"])
    assert found[0].label == "green"
    assert np.array_equal(np.asarray(official.feature_extraction("red"), np.float32).reshape(-1), vector)
    as_inference_server = client.post("/embed", json={"inputs": ["red"], "truncate": True}).json()
    assert np.array_equal(np.asarray(as_inference_server, np.float32)[0], vector)


@pytest.mark.parametrize("path", ["", "/hf/image-classification"])
def test_the_official_client_classifies_by_the_served_classifier(address: str, path: str, tmp_path: Path) -> None:
    official, photo = InferenceClient(model=address + path), tmp_path / "photo.png"
    photo.write_bytes(colour_bytes("green"))
    for picture in (colour_bytes("green"), photo, str(photo)):  # bytes are sent without a content type
        answers = official.image_classification(picture)
        assert (answers[0].label, len(answers)) == ("green", len(COLOURS))
    assert [a.label for a in official.image_classification(photo, top_k=1)] == ["green"]


def test_a_picture_alone_is_segmented_by_the_served_segmenter(tmp_path: Path) -> None:
    tiny = ServedModel("tiny", diptych.load("tiny", engine="torch", cache=False))
    diptych.systems.MaskCLIP().fit(tiny.model, names=["red", "blue"]).save(tmp_path / "colours")
    content = Content((tiny,), segmenters={"colours": open_fitted(tmp_path / "colours", [tiny])})
    with TestClient(server(Settings(), content), base_url="http://127.0.0.1") as client:
        for path in ("/", "/hf/image-segmentation"):
            answers = client.post(path, content=colour_bytes("red", (40, 30)), headers={"Content-Type": "image/png"})
            assert answers.status_code == 200, answers.text
            masks = [np.asarray(Image.open(io.BytesIO(base64.b64decode(a["mask"])))) for a in answers.json()]
            assert {a["label"] for a in answers.json()} <= {"red", "blue"}
            assert (np.sum(masks, axis=0, dtype=int) == 255).all()
            assert masks[0].shape == (30, 40)
        lacking = client.post("/hf/image-classification", content=colour_bytes("red"))
        assert (lacking.status_code, "--classifier FOLDER" in lacking.json()["message"]) == (404, True)


@pytest.mark.parametrize(
    ("path", "body", "kind", "status"),
    [
        ("/", b"no picture", "image/jpeg", 422),
        ("/hf/image-classification", b"", "image/jpeg", 422),
        ("/hf/image-classification", b'{"inputs": "x", "parameters": {"top_k": 0}}', "application/json", 400),
        ("/hf/image-segmentation", colour_bytes("red"), "image/png", 404),
        ("/hf/image-segmentation", b'{"inputs": ["red"]}', "application/json", 400),
        ("/", b"a=1", "application/x-www-form-urlencoded", 415),
        ("/", b'{"inputs": "red"}', "", 415),
    ],
)
def test_other_bodies_get_a_sentence(client: Any, path: str, body: bytes, kind: str, status: int) -> None:
    answer = client.post(path, content=body, headers={"Content-Type": kind} if kind else {})
    assert (answer.status_code, len(answer.json()["message"]) > 20) == (status, True), answer.text


@pytest.mark.parametrize("given", [{}, {"inputs": ["x"]}, {"inputs": "x", "parameters": {"candidate_labels": [1]}}])
def test_requests_without_labels_get_a_sentence(client: Any, given: dict[str, Any]) -> None:
    answer = client.post("/hf/zero-shot-image-classification", json=given)
    assert answer.status_code == 400
