from __future__ import annotations

from starlette.testclient import TestClient

from diptych.serve.assembly import Content, server
from diptych.serve.settings import Settings


def test_a_server_is_ready_until_it_stops(content: Content) -> None:
    with TestClient(server(Settings(), content), base_url="http://127.0.0.1") as client:
        assert client.get("/ready").json() == {"ready": True, "waiting": 0, "models": ["colours"]}
        assert client.get("/health").status_code == 200
    # The end of its life: nothing more is taken.
    assert client.get("/ready").status_code == client.get("/health").status_code == 503
    assert client.post("/v1/embeddings", json={"input": "red"}).status_code == 503
