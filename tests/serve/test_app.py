from __future__ import annotations

import re
import sqlite3
from typing import Any

import pytest


def test_the_description_names_every_route_of_programs(client: Any) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {
        "/v1/embeddings", "/v1/models", "/v2/embed", "/v1/classify", "/v1/search", "/v1/segment", "/v1/detect",
        "/v1/caption", "/setup", "/predict", "/webhook", "/ping", "/vectorize", "/meta", "/health", "/ready",
        "/metrics", "/hf/zero-shot-image-classification", "/hf/feature-extraction",
    } <= set(paths)  # fmt: skip
    assert not {"/marks", "/query"} & set(paths)
    fields = client.get("/openapi.json").json()["components"]["schemas"]["ClassifyRequest"]["properties"]
    assert {"images", "labels", "classifier", "sets", "unknown_rate", "reasons"} <= set(fields)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/classify", {"images": [], "labls": ["a"]}, "labls"),
        ("/v1/segment", {"images": [], "labels": ["a"], "classes": []}, "classes"),
        ("/v1/detect", {"images": [], "thing": "nut", "rat": 0.1}, "rat"),
        ("/v1/caption", {"images": [], "k": 3}, "k"),
        ("/v1/search", {"query": "red", "limit": 3}, "limit"),
        ("/v1/search", {"query": [{"text": "red", "heft": 2}]}, "query.0.heft"),
    ],
)
def test_our_routes_name_a_field_that_they_do_not_know(client: Any, path: str, body: Any, field: str) -> None:
    got = client.post(path, json=body)
    assert (got.status_code, got.json()["error"]["code"]) == (422, "unknown_field")
    takes = got.json()["detail"].partition(", which takes ")[2].partition(":")[0].split(", ")
    assert f"no field {field!r}" in got.json()["detail"]
    assert ("." in field) or {"images", "labels", "query", "texts", "thing", "top"} & {*takes}, "it says what it takes"


def test_routes_in_the_form_of_others_take_what_their_clients_send(client: Any) -> None:
    assert client.post("/v1/embeddings", json={"input": "red", "priority": 1}).status_code == 200
    given = {"model": "embed-v4.0", "texts": ["red"], "input_type": "search_query", "max_tokens": 9}
    assert client.post("/v2/embed", json=given).status_code == 200


def test_the_description_says_what_is_answered_where_that_is_no_json_of_status_200(client: Any) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"204", "503", "4XX", "5XX"} == set(paths["/.well-known/live"]["get"]["responses"])
    assert "201" in paths["/webhook"]["post"]["responses"]
    for path in ("/metrics", "/ping"):
        assert list(paths[path]["get"]["responses"]["200"]["content"]) == ["text/plain"]
    for methods in paths.values():
        for operation in methods.values():  # FastAPI's 422 of its own form is never sent
            assert {"4XX", "5XX"} <= set(operation["responses"])
            assert "422" not in operation["responses"]


def test_unknown_paths_and_methods_get_a_sentence_and_broken_code_no_traceback(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing, deleted = client.get("/nothing"), client.delete("/v1/models")
    assert (nothing.status_code, deleted.status_code) == (404, 405)
    assert nothing.json()["message"] == "There is nothing at /nothing: /openapi.json lists what is there."
    assert deleted.json()["message"] == "/v1/models takes GET, not DELETE: /openapi.json says how it is asked."
    both = client.put("/")  # a page, and the route of Hugging Face's client
    assert (both.status_code, both.headers["allow"]) == (405, "GET, POST")

    def broken(*given: Any) -> Any:
        raise RuntimeError("secret path /root/x")

    monkeypatch.setattr("diptych.serve.protocols.openai.inputs_of", broken)
    with pytest.raises(RuntimeError):  # the test client raises what a real server logs
        client.post("/v1/embeddings", json={"input": "red"})


def test_no_request_of_random_values_breaks_a_route(client: Any) -> None:
    """Values of every kind for every field of the description: answers are 2xx, or a refusal with a sentence."""
    import random

    description = client.get("/openapi.json").json()
    rng = random.Random(0)
    values: list[Any] = [
        None,
        "",
        "x",
        -1,
        0,
        3.5,
        True,
        [],
        ["a"],
        [None],
        {},
        {"a": 1},
        "\ud7ff\u0000",
        10**30,
        [[1]],
    ]
    statuses = set()
    for path, methods in sorted(description["paths"].items()):
        for method in methods:
            content = methods[method].get("requestBody", {}).get("content", {}).get("application/json", {})
            reference = re.sub(r".*/", "", content.get("schema", {}).get("$ref", ""))
            fields = description["components"]["schemas"].get(reference, {}).get("properties", {"tasks": 0})
            for _ in range(12):
                body = {name: rng.choice(values) for name in fields if rng.random() < 0.7}
                answer = client.request(method, path.replace("{name}", "x"), json=body)
                statuses.add(answer.status_code)
                assert answer.status_code < 500 or answer.status_code == 501, (path, body, answer.text)
                if answer.status_code >= 400:
                    assert answer.json()["message"]
    assert {200, 400} <= statuses


@pytest.mark.parametrize("body", [b"\xff{", b"[" * 5000, b"{"])
def test_a_body_that_is_no_json_is_refused_with_what_to_send(client: Any, body: bytes) -> None:
    answer = client.post("/v1/search", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("The body is no JSON: send ")


def test_an_empty_body_is_called_empty(client: Any) -> None:
    answer = client.post("/v1/search", content=b"", headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("The body is empty: send a JSON object with query, ")


@pytest.mark.parametrize(("code", "status"), [(sqlite3.SQLITE_FULL, 507), (sqlite3.SQLITE_IOERR, 507), (1, 500)])
def test_rows_that_cannot_be_used_are_no_fault_to_report(
    client: Any, monkeypatch: pytest.MonkeyPatch, code: int, status: int
) -> None:
    def fail(*given: Any, **named: Any) -> Any:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = code
        raise error

    monkeypatch.setattr("diptych.serve.verbs.search.ask", fail)
    answer = client.post("/v1/search", json={"query": "red"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, "file")
    assert answer.json()["message"].endswith("(database or disk is full): look at its disk.")
