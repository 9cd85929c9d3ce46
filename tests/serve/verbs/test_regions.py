from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from diptych import load
from diptych.serve.answers import DetectAnswer, SegmentAnswer
from diptych.serve.assembly import Content, server
from diptych.serve.model import ServedModel
from diptych.serve.opening import open_detector, open_normal
from diptych.serve.protocols.label_studio_answers import PredictAnswer
from diptych.serve.settings import Settings
from tests.serve.test_answers import has_form
from tests.support.servers.serving import colour_uri


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    model, folder = ServedModel("tiny", load("tiny", engine="torch", cache=False)), tmp_path_factory.mktemp("normal")
    for i in range(24):
        tone = 7 * i % 24  # successors differ, or they would count as frames of a film
        Image.new("RGB", (64, 64), (200 + tone, 50, 60 - tone)).save(folder / f"{i}.png")
    content = Content((model,), detectors={"plain": open_detector(*open_normal(f"plain={folder}"), model)})
    with TestClient(server(Settings(), content), base_url="http://127.0.0.1") as client:
        yield client


def test_label_maps_come_as_pictures_with_shares(tiny: TestClient) -> None:
    given = {"images": [colour_uri("red")], "labels": ["a red circle", "a green square"], "background": ["grey"]}
    answer = tiny.post("/v1/segment", json=given)
    assert answer.status_code == 200, answer.text
    assert has_form(answer.json(), SegmentAnswer)
    (photo,) = answer.json()["photos"]
    labels = np.asarray(Image.open(io.BytesIO(base64.b64decode(photo["mask"]))))
    assert labels.shape == (9, 12)
    assert sum(area["area"] for area in photo["areas"]) == pytest.approx(1)
    assert {area["value"] for area in photo["areas"]} == set(np.unique(labels).tolist())
    again = tiny.post("/v1/segment", json=given).json()["photos"][0]
    assert again == photo


def test_rectangles_of_label_studio_lie_round_what_a_label_names(tiny: TestClient) -> None:
    """A red square on grey: its box is where the square is, within a cell of the tower."""
    picture = Image.new("RGB", (128, 128), (128, 128, 128))
    picture.paste((220, 20, 20), (8, 16, 64, 80))
    file = io.BytesIO()
    picture.save(file, "PNG")
    xml = (
        '<View><Image name="i" value="$image"/><RectangleLabels name="r" toName="i"><Label value="a red square" '
        'alias="Red"/></RectangleLabels></View>'
    )
    uri = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    answer = tiny.post("/predict", json={"tasks": [{"id": 1, "data": {"image": uri}}], "label_config": xml})
    assert answer.status_code == 200, answer.text
    assert has_form(answer.json(), PredictAnswer)
    results = answer.json()["results"][0]["result"]
    assert results, "a box"
    for row in results:
        value = row["value"]
        assert (row["type"], value["rectanglelabels"], value["rotation"]) == ("rectanglelabels", ["Red"], 0)
        assert (row["original_width"], row["original_height"]) == (128, 128)
        assert 0 <= value["x"] <= value["x"] + value["width"] <= 100
        assert 0 <= value["y"] <= value["y"] + value["height"] <= 100
    largest = max(results, key=lambda row: row["value"]["width"] * row["value"]["height"])["value"]
    assert largest["x"] <= 35 <= largest["x"] + largest["width"]
    assert largest["y"] <= 40 <= largest["y"] + largest["height"]


def test_normal_photos_of_the_start_make_a_detector(tiny: TestClient) -> None:
    answer = tiny.post("/v1/detect", json={"images": [colour_uri("red"), colour_uri("blue")], "detector": "plain"})
    assert answer.status_code == 200, answer.text
    assert has_form(answer.json(), DetectAnswer)
    red, blue = answer.json()["photos"]
    assert blue["score"] > red["score"]
    assert blue["flagged"] is True
    assert 0 < blue["normal_share"] <= red["normal_share"] <= 1


def test_words_are_enough_for_a_detector(tiny: TestClient) -> None:
    answer = tiny.post("/v1/detect", json={"images": [colour_uri("red")], "thing": "circle"})
    assert answer.status_code == 200, answer.text
    assert has_form(answer.json(), DetectAnswer)
    assert np.isfinite(answer.json()["photos"][0]["score"])


@pytest.mark.parametrize(
    ("path", "given", "status"),
    [
        ("segment", {"labels": ["a"], "method": "clip-dinoiser"}, 400),
        ("segment", {"labels": []}, 400),
        ("segment", {"labels": ["a"], "threshold": 7.0}, 400),
        ("detect", {}, 400),
        ("detect", {"thing": "a", "detector": "plain"}, 400),
        ("detect", {"detector": "no-such"}, 404),
        ("detect", {"thing": "a", "method": "feature-memory"}, 400),
        ("detect", {"thing": "a", "method": "gda"}, 400),
    ],
)
def test_requests_that_mean_nothing_get_a_sentence(tiny: TestClient, path: str, given: Any, status: int) -> None:
    answer = tiny.post(f"/v1/{path}", json={"images": [colour_uri("red")], **given})
    assert answer.status_code == status, answer.text
    assert answer.json()["message"].endswith(".")
