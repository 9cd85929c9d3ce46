from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import diptych
from diptych import load
from diptych.core import UsageError
from diptych.serve.assembly import Content, server
from diptych.serve.declared import body_of
from diptych.serve.model import ServedModel
from diptych.serve.opening import check_fitted, open_fitted
from diptych.serve.settings import Settings
from diptych.verbs.detect import Detect
from diptych.verbs.segment import Segment
from tests.support.servers.serving import colour_uri


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


def test_a_field_may_be_called_as_the_flag_of_the_command(client: TestClient) -> None:
    """Pages say that bodies have the arguments of the commands, and ``object`` was no field."""
    body = {"images": [colour_uri("red")], "method": "winclip-style"}
    by_flag, by_field = (client.post("/v1/detect", json={**body, field: "nut"}) for field in ("object", "thing"))
    assert by_flag.status_code == by_field.status_code == 200, by_flag.text
    assert by_flag.json()["photos"] == by_field.json()["photos"]
    twice = client.post("/v1/detect", json={**body, "object": "nut", "thing": "bolt"})
    assert (twice.status_code, "no field 'object'" in twice.json()["message"]) == (422, True)
    assert "object" not in body_of(Detect).model_json_schema()["properties"]


@pytest.mark.parametrize(
    ("path", "given", "says"),
    [
        ("segment", {"labels": ["a", "b"], "threshold": 2, "background": ["c"]}, '"threshold" must be in [0, 1]'),
        ("segment", {"labels": ["a", "b"], "settings": {"no-such": "x"}}, "has no setting 'no-such': it has "),
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
        assert answer.json()["remarks"] == []
        same = client.post("/v1/detect", json={**given, "images": [colour_uri("red")]})
        assert same.json()["remarks"][0].startswith('1 of 1 photo is also given as "normal". Such photos score low')


def test_fitted_systems_are_served_by_the_names_of_their_folders(tiny: ServedModel, tmp_path: Path) -> None:
    systems, model = diptych.systems, tiny.model
    systems.MaskCLIP().fit(model, names=["red", "blue"]).save(tmp_path / "colours")
    systems.WinCLIPStyle().fit(model).save(tmp_path / "odd")
    systems.NearestCaption().fit(model, ["a red thing", "a blue thing"]).save(tmp_path / "sentences")
    folders = {name: tmp_path / name for name in ("colours", "odd", "sentences")}
    kinds = {name: check_fitted(folder) for name, folder in folders.items()}
    assert kinds == {"colours": "segmenter", "odd": "detector", "sentences": "captioner"}
    read = {name: open_fitted(folder, [tiny]) for name, folder in folders.items()}
    content = Content(
        (tiny,),
        detectors={"odd": read["odd"].fitted},
        segmenters={"colours": read["colours"]},
        captioners={"sentences": read["sentences"]},
    )
    with TestClient(server(Settings(), content), base_url="http://127.0.0.1") as client:
        images = {"images": [colour_uri("red")]}
        maps = client.post("/v1/segment", json={**images, "segmenter": "colours"})
        assert maps.status_code == 200, maps.text
        assert (maps.json()["method"], maps.json()["classnames"]) == ("maskclip", ["red", "blue"])
        assert client.post("/v1/detect", json={**images, "detector": "odd"}).status_code == 200
        captions = client.post("/v1/caption", json={**images, "captioner": "sentences"})
        assert captions.status_code == 200, captions.text
        assert captions.json()["photos"][0]["captions"][0] in ("a red thing", "a blue thing")
        lost = client.post("/v1/segment", json={**images, "segmenter": "none"})
        assert (lost.status_code, "there is colours" in lost.json()["message"]) == (404, True)
        both = client.post("/v1/segment", json={**images, "segmenter": "colours", "method": "sclip"})
        assert (both.status_code, 'leave "method" out' in both.json()["message"]) == (400, True)
    systems.ZeroShot().fit(model, names=["red", "blue"]).save(tmp_path / "classifier")
    with pytest.raises(UsageError, match="fitted systems are served of segment, detect, caption"):
        check_fitted(tmp_path / "classifier")


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
