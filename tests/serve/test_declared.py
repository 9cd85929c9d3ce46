from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from diptych import load
from diptych.serve.assembly import Content, server
from diptych.serve.declared import body_of
from diptych.serve.model import ServedModel
from diptych.serve.settings import Settings
from diptych.verbs.detect import Detect
from diptych.verbs.segment import Segment
from tests.support.serving import colour_uri


@pytest.fixture(scope="module")
def tiny() -> ServedModel:
    return ServedModel("tiny", load("tiny", engine="torch", cache=False))


@pytest.fixture
def client(tiny: ServedModel) -> Iterator[TestClient]:
    with TestClient(server(Settings(), Content((tiny,))), base_url="http://127.0.0.1") as client:
        yield client


def test_a_body_has_the_fields_of_the_declaration() -> None:
    fields = body_of(Segment).model_fields
    assert {"images", "labels", "model", "background", "settings", "proposer"} <= set(fields)
    assert not {"train", "void", "regions"} & set(fields), "a request names no file of the server"
    assert "detector" in body_of(Detect).model_fields


@pytest.mark.parametrize(
    ("path", "given", "says"),
    [
        ("segment", {"labels": ["a", "b"], "threshold": 2, "background": ["c"]}, '"threshold" must be in [0, 1]'),
        ("segment", {"labels": ["a", "b"], "settings": {"no-such": "x"}}, "has no setting 'no-such'"),
        ("segment", {"labels": ["a", "b"], "proposer": "hf:a/b"}, "proposer"),
        ("segment", {"labels": ["a"] * 2000}, "at most 1000 entries"),
        ("segment", {"labels": ["a", "b"], "templates": ["/etc/passwd"]}, "/etc/passwd"),
        ("detect", {}, 'give "normal", photos without anomalies, or "thing"'),
        ("detect", {"normal": [colour_uri("red")]}, "this server trains nothing"),
    ],
)
def test_requests_are_refused_in_the_words_of_the_body(
    client: TestClient, path: str, given: dict[str, object], says: str
) -> None:
    answer = client.post(f"/v1/{path}", json={"images": [colour_uri("red")], **given})
    assert answer.status_code in (400, 422), answer.text
    assert says in answer.json()["message"]


def test_a_server_that_may_train_learns_from_the_pictures_of_a_request(tiny: ServedModel) -> None:
    app = server(Settings(training=True), Content((tiny,)))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        given = {"images": [colour_uri("blue")], "normal": [colour_uri("red")] * 3, "settings": {"side": 64}}
        answer = client.post("/v1/detect", json=given)
        assert answer.status_code == 200, answer.text
        assert answer.json()["normal"]["learnt"] == 3


def test_the_nearest_sentences_are_captions(serve: Callable[..., Any]) -> None:
    colours = serve()
    own = {"images": [colour_uri("red"), colour_uri("blue")], "texts": ["a blue thing", "a red thing"], "n": 2}
    photos = colours.post("/v1/caption", json=own).json()["photos"]
    assert [p["captions"] for p in photos] == [["a red thing", "a blue thing"], ["a blue thing", "a red thing"]]
    served = colours.post("/v1/caption", json={"images": [colour_uri("green")]}).json()
    assert served["photos"][0]["captions"] == ["something green"]
    assert (served["fit"], served["photos"][0]["fits"], served["remarks"]) == (None, None, [])
    none = colours.post("/v1/caption", json={"images": [colour_uri("red")], "n": 0})
    assert (none.status_code, none.json()["message"]) == (400, '"n" must be at least 1, got 0.')
    trained = colours.post("/v1/caption", json={"images": [colour_uri("red")], "method": "maccap"})
    assert (trained.status_code, "this server trains nothing" in trained.json()["message"]) == (400, True)
