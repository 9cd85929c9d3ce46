from __future__ import annotations

import asyncio
import base64
import gzip
import inspect
import io
import json
import socket
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.exceptions import HTTPException

from tests.support.servers.serving import colour_bytes, colour_uri

Serve = Callable[..., Any]
KEY = "0123456789abcdef"


def embeddings(client: Any, given: object, **more: Any) -> Any:
    return client.post("/v1/embeddings", json={"input": given}, **more)


def test_a_key_is_asked_for_as_bearer_or_as_the_password_of_a_browser(serve: Serve) -> None:
    client = serve(keys=(KEY, "x" * 20))
    assert embeddings(client, "red").status_code == 401
    assert embeddings(client, "red", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert embeddings(client, "red", headers={"Authorization": "Basic ???"}).status_code == 401
    assert embeddings(client, "red", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
    assert embeddings(client, "red", auth=("anyone", "x" * 20)).status_code == 200
    said = {
        header: client.get("/v1/models", headers={"Authorization": header}).json()["error"]
        for header in ("", "Bearer wrong", "Token wrong")
    }
    assert said[""]["code"] == "no_key"
    assert said["Bearer wrong"]["code"] == "wrong_key"
    assert said["Bearer wrong"]["message"].startswith("This key is none of the server's")
    assert said["Token wrong"]["message"].startswith("The header Authorization holds no key")
    refused = client.get("/v1/models")
    assert refused.headers["www-authenticate"].startswith("Basic")
    assert client.get("/health").status_code == client.get("/ready").status_code == 200


def test_a_key_may_stand_in_a_header_of_its_own(serve: Serve) -> None:
    client = serve(keys=(KEY,))
    for name in ("api-key", "x-api-key"):
        assert embeddings(client, "red", headers={name: KEY}).status_code == 200
        refused = embeddings(client, "red", headers={name: "wrong"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "wrong_key")


def test_health_is_asked_with_head_and_without_a_host(client: Any, address: str) -> None:
    for path in ("/health", "/ready", "/ping", "/meta", "/v1/models", "/.well-known/live"):
        got = client.head(path)
        assert (got.status_code < 300, got.content) == (True, b""), path
    assert client.head("/v1/embeddings").status_code == 405
    host, _, port = address.removeprefix("http://").partition(":")
    for method in ("GET", "HEAD"):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(f"{method} /health HTTP/1.0\r\n\r\n".encode())
            answer = b"".join(iter(lambda c=connection: c.recv(4096), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b" 200 OK" in head.splitlines()[0], answer
        assert (b'"UP"' in body) == (method == "GET")


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/classify", "/v2/embed"])
def test_a_body_without_the_content_type_names_the_header(client: Any, path: str, kind: str) -> None:
    if not kind and "strict_content_type" not in inspect.signature(FastAPI).parameters:
        pytest.skip("earlier versions of FastAPI read a body without content type as JSON")
    refused = client.post(path, content=b'{"input": "red"}', headers={"content-type": kind} if kind else {})
    assert refused.status_code == 415, refused.text
    assert "send the header 'Content-Type: application/json'" in refused.json()["message"]


def test_pages_of_other_hosts_neither_read_nor_change_anything(client: Any) -> None:
    assert client.get("/v1/models", headers={"host": "evil.example"}).status_code == 421
    assert client.get("/v1/models", headers={"host": "localhost:7070"}).status_code == 200
    assert client.get("/v1/models", headers={"host": "[::1]:7070"}).status_code == 200
    assert client.get("/v1/models", headers={"host": "LocalHost:7070"}).status_code == 200
    assert embeddings(client, "red", headers={"origin": "http://evil.example"}).status_code == 403
    assert embeddings(client, "red", headers={"origin": "null"}).status_code == 403
    assert embeddings(client, "red", headers={"origin": "http://127.0.0.1"}).status_code == 200


def test_every_answer_forbids_what_a_page_could_load(client: Any) -> None:
    for answer in (client.get("/health"), client.get("/no-such"), client.get("/", headers={"host": "x"})):
        if answer.status_code != 421:
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "connect-src 'self'" in answer.headers["content-security-policy"]  # marks are sent by a script
        assert answer.headers["x-content-type-options"] == "nosniff"
        # Not "no-referrer": a browser would then send the page's own forms with "Origin: null", which is refused.
        assert answer.headers["referrer-policy"] == "same-origin"


def test_bodies_are_bounded_before_they_are_read(serve: Serve) -> None:
    client = serve(max_bytes=1000)
    assert embeddings(client, "red").status_code == 200
    refused = embeddings(client, "r" * 2000)
    assert refused.status_code == 413
    assert "1,000 bytes" in refused.json()["message"]

    def parts() -> Any:  # no content-length
        for _ in range(50):
            yield b"[" * 100

    streamed = client.post("/v1/embeddings", content=parts(), headers={"content-type": "application/json"})
    assert streamed.status_code == 413
    form = client.post("/predict", data={"entries": "{}"}, files={"image": b"0" * 5000})
    assert form.status_code == 413


def test_pictures_are_bounded_before_they_are_decoded(serve: Serve) -> None:
    client = serve(max_pixels=1000)
    assert embeddings(client, colour_uri("red")).status_code == 200
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(b"0"),
        b"IEND": b"",
    }
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts.items()
    )
    refused = embeddings(client, "data:image/png;base64," + base64.b64encode(bomb).decode())
    assert refused.status_code == 413
    assert "60,000 x 60,000 pixels" in refused.json()["message"]


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"", 422), (b"\x80\x04\x95pickle", 422), (colour_bytes("red")[:40], 422), (b"<svg/>", 422), (b"GIF89a", 422)],
)
def test_what_is_no_picture_is_refused_with_a_reason(client: Any, data: bytes, status: int) -> None:
    answer = embeddings(client, "data:image/png;base64," + base64.b64encode(data).decode())
    assert answer.status_code == status
    assert "input 0" in answer.json()["message"]


@pytest.mark.parametrize("url", ["http://127.0.0.1/x.jpg", "https://example.com/x.jpg", "file:///etc/passwd"])
def test_addresses_are_not_fetched(client: Any, url: str) -> None:
    answer = client.post("/v1/embeddings", json={"input": [url], "modality": "image"})
    assert answer.status_code == 400
    assert "not fetched" in answer.json()["message"]


def test_broken_bodies_get_a_sentence(client: Any) -> None:
    for content in (b"{", b"[" * 100_000, b"\xff\xfe", b"null", b'{"input": 3.5}', b'{"input": []}'):
        answer = client.post("/v1/embeddings", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 400, content[:20]
        assert answer.json()["error"]["message"]


def test_fuzzed_uploads_break_nothing(client: Any) -> None:
    import numpy as np

    rng, good = np.random.default_rng(0), io.BytesIO()
    Image.new("RGB", (16, 12), "red").save(good, "JPEG")
    seeds = [colour_bytes("red"), good.getvalue()]
    statuses = set()
    for i in range(120):
        data = bytearray(seeds[i % 2])
        for place in rng.integers(0, len(data), 1 + i % 7):
            data[place] = int(rng.integers(256))
        uri = "data:image/png;base64," + base64.b64encode(bytes(data[: rng.integers(1, len(data) + 1)])).decode()
        statuses.add(embeddings(client, uri).status_code)
    assert statuses <= {200, 413, 422}
    assert client.get("/health").json()["status"] == "UP"


def test_the_log_names_no_text_and_no_picture(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="diptych.serve"):
        client.get("/v1/models?secret=red")
        embeddings(client, "a very private red thing")
    lines = [json.loads(record.message) for record in caplog.records if record.name == "diptych.serve"]
    assert [line["path"] for line in lines] == ["/v1/models", "/v1/embeddings"]
    assert lines[1]["status"] == 200
    assert lines[1]["bytes"] > 20
    assert "private" not in caplog.text
    assert "secret" not in "".join(record.message for record in caplog.records if record.name == "diptych.serve")


def test_counts_are_read_by_prometheus(serve: Serve) -> None:
    client = serve()
    embeddings(client, ["red", "blue"])
    client.get("/no-such-path-1")
    client.get("/no-such-path-2")
    text = client.get("/metrics").text
    assert 'diptych_requests_total{method="POST",route="/v1/embeddings",status="200"} 1.0' in text
    assert 'diptych_requests_total{method="GET",route="other",status="404"} 2.0' in text
    assert "diptych_inputs_total 2.0" in text
    assert 'diptych_request_seconds_bucket{le="0.005",route="/v1/embeddings"}' in text
    assert 'diptych_batch_inputs_bucket{lane="colours/text",le="1.0"} 0.0' in text
    assert 'diptych_batch_inputs_bucket{lane="colours/text",le="2.0"} 1.0' in text
    assert 'diptych_queue_seconds_count{lane="colours/text"} 1.0' in text
    assert 'diptych_batch_seconds_count{lane="colours/text"} 1.0' in text


def test_a_key_beyond_ascii_is_known(serve: Serve) -> None:
    key = "\u043a\u043b\u044e\u0447" * 4
    client = serve(keys=(key,))
    assert client.get("/v1/models", headers={"Authorization": b"Bearer " + key.encode()}).status_code == 200
    assert client.get("/v1/models", headers={"Authorization": b"Bearer \xff" + key.encode()}).status_code == 401


def test_made_up_methods_share_a_row_of_the_counts(serve: Serve) -> None:
    client = serve()
    for i in range(5):
        assert client.request(f"M{i}", "/v1/models").status_code == 405
    rows = [line for line in client.get("/metrics").text.splitlines() if 'status="405"' in line]
    assert [row for row in rows if "diptych_requests_total" in row] == [
        'diptych_requests_total{method="other",route="/v1/models",status="405"} 5.0'
    ]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": "PLACE"}),
        ("/v1/classify", {"images": [colour_uri("red")], "labels": ["a", "PLACE"]}),
        ("/v1/classify", {"images": [colour_uri("red")], "labels": ["a", "b"], "templates": ["PLACE {}"]}),
    ],
)
def test_half_a_surrogate_pair_is_said(client: Any, path: str, body: Any) -> None:
    content = json.dumps(body).replace("PLACE", "\\ud800")
    answer = client.post(path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert "half a surrogate pair" in answer.json()["message"]


def test_a_text_that_no_tower_reads_is_refused_before_its_tokens_are_made(client: Any) -> None:
    answer = embeddings(client, "red " * 20_000)
    assert (answer.status_code, "at most 50,000 characters" in answer.json()["message"]) == (413, True)


def test_a_body_that_drips_is_given_up() -> None:
    """Each part comes in time, and the whole does not: the seconds of a request count for all of it."""
    from diptych.serve.guard import Guard, _Body
    from diptych.serve.settings import Settings

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.03)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def read() -> None:
        body: Any = _Body(receive, Guard(None, Settings(timeout=0.2), None), {})  # type: ignore[arg-type]
        for _ in range(100):
            await body()

    with pytest.raises(HTTPException, match="did not arrive within") as caught:
        asyncio.run(read())
    assert caught.value.status_code == 408


def test_a_packed_body_is_refused_with_what_to_send(client: Any) -> None:
    packed = gzip.compress(json.dumps({"input": "red"}).encode())
    head = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = client.post("/v1/embeddings", content=packed, headers=head)
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "content_encoding")
    assert "Content-Encoding: gzip" in answer.json()["message"]
    assert embeddings(client, "red", headers={"Content-Encoding": "identity"}).status_code == 200


def test_headers_that_are_too_large_are_refused_though_they_come_in_one_piece(client: Any) -> None:
    """uvicorn bounds those that come in parts: 100 kB passed where one read took them all in."""
    assert client.get("/health", headers={"x-note": "a" * 60_000}).status_code == 200
    refused = client.get("/health", headers={"x-note": "a" * 66_000})
    assert refused.status_code == 431
    assert "may have 65,536 bytes, and these have 66," in refused.json()["message"]
    assert client.get(f"/health?note={'a' * 33_000}", headers={"x-note": "a" * 33_000}).status_code == 431
