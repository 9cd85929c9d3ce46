"""Label Studio's requests as its server sends them (label_studio_ml/api.py); no client library makes them."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.support.colours import COLOURS
from tests.support.servers.serving import colour_bytes, colour_uri

XML = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image">'
    '<Choice value="a red thing" alias="Red"/><Choice value="a green thing" alias="Green"/></Choices></View>'
)
KNOWN = XML.replace('"a red thing" alias="Red"', '"red"').replace(
    '<Choice value="a green thing" alias="Green"/>', "".join(f'<Choice value="{c}"/>' for c in list(COLOURS)[1:])
)


def predicted(client: Any, *pictures: str, xml: str = XML) -> list[dict[str, Any]]:
    tasks = [{"id": i, "data": {"image": picture}} for i, picture in enumerate(pictures)]
    answer = client.post("/predict", json={"tasks": tasks, "label_config": xml, "project": "1.1700000000"})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def test_labels_of_the_interface_are_enough_for_predictions(client: Any) -> None:
    assert client.get("/health").json()["status"] == "UP"
    response = client.post("/setup", json={"project": "1.1700000000", "schema": XML, "extra_params": {}})
    assert response.json()["model_version"]
    first, second = predicted(client, colour_uri("red"), colour_uri("green"))
    (choice,) = first["result"]
    assert choice["value"] == {"choices": ["Red"]}
    assert (choice["from_name"], choice["to_name"], choice["type"]) == ("label", "image", "choices")
    assert 0.5 < first["score"] <= 1
    assert second["result"][0]["value"] == {"choices": ["Green"]}


def test_annotations_change_predictions_until_they_are_deleted(serve: Callable[..., Any]) -> None:
    client = serve()
    before = predicted(client, colour_uri("blue"))[0]

    def hook(action: str, task: int, label: str) -> Any:
        part = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}
        body = {
            "action": action,
            "project": {"id": 1, "label_config": XML},
            "task": {"id": task, "data": {"image": colour_uri("blue")}},
            "annotation": {"id": 7, "task": task, "result": [part]},
        }
        return client.post("/webhook", json=body)

    wrong = "Red" if before["result"][0]["value"]["choices"] == ["Green"] else "Green"
    for task in range(12):
        answer = hook("ANNOTATION_CREATED", task, wrong)
        assert answer.status_code == 201
        assert answer.json() == {"result": {"learnt": True}, "status": "ok"}
    assert predicted(client, colour_uri("blue"))[0]["result"][0]["value"]["choices"] == [wrong]
    for task in range(12):
        hook("ANNOTATION_DELETED", task, wrong)
    assert predicted(client, colour_uri("blue"))[0] == before
    assert client.post("/webhook", json={"action": "START_TRAINING"}).status_code == 201


def test_a_calibrated_classifier_of_the_same_classes_says_unknown_with_no_answer(client: Any) -> None:
    known, odd = predicted(client, colour_uri("red"), grey_uri(), xml=KNOWN)
    assert known["result"][0]["value"] == {"choices": ["red"]}
    assert odd["result"] == []


def grey_uri() -> str:
    import base64
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 128, np.uint8)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def studio() -> Iterator[str]:
    """A server that gives a picture to who shows the token, and sends others elsewhere."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "http://127.0.0.1:1/secret")
                self.end_headers()
                return
            self.send_response(200 if self.headers.get("Authorization") == "Token abc" else 403)
            self.end_headers()
            self.wfile.write(colour_bytes("red"))

        def log_message(self, *given: Any) -> None:
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()
    thread.join(5)


def test_pictures_come_from_named_origins_alone(
    serve: Callable[..., Any], studio: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(fetch_from=(studio,))

    def status(picture: str) -> int:
        tasks = [{"id": 1, "data": {"image": picture}}]
        code: int = client.post("/predict", json={"tasks": tasks, "label_config": XML}).status_code
        return code

    assert status("/data/upload/1.png") == 422  # without the token
    monkeypatch.setenv("DIPTYCH_FETCH_TOKEN", "Token abc")
    assert status("/data/upload/1.png") == status(f"{studio}/x.png") == 200
    assert status(f"{studio}/moved") == 422
    for elsewhere in ("http://127.0.0.1:1/x", f"{studio}.evil.example/x", "//evil.example/x", "file:///etc/passwd"):
        assert status(elsewhere) == 400, elsewhere
    assert (
        serve().post("/predict", json={"tasks": [{"id": 1, "data": {"image": "/x"}}], "label_config": XML}).status_code
        == 400
    )


@pytest.mark.parametrize(
    "change", [{"project": "x"}, {"task": [1]}, {"annotation": 3}, {"task": {"id": 1, "data": [1]}}]
)
def test_an_event_of_another_form_gets_a_sentence(client: Any, change: dict[str, Any]) -> None:
    body = {"action": "ANNOTATION_CREATED", "project": {"id": 1, "label_config": XML}, "task": {"id": 1}}
    answer = client.post("/webhook", json=body | change)
    assert (answer.status_code, "objects project, task" in answer.json()["message"]) == (400, True)


def test_only_the_controls_that_were_used_last_are_kept(serve: Callable[..., Any]) -> None:
    import gc

    from diptych.serve.protocols.label_studio import PROJECTS, Shots

    def kept() -> int:
        gc.collect()
        return sum(isinstance(each, Shots) for each in gc.get_objects())

    client, before = serve(), kept()
    for project in range(PROJECTS + 20):
        body = {"action": "ANNOTATION_DELETED", "project": {"id": project, "label_config": XML}, "task": {"id": 1}}
        assert client.post("/webhook", json=body).status_code == 201
    assert kept() - before <= PROJECTS
