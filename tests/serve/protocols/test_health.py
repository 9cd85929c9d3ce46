from __future__ import annotations

import threading

from fastapi import FastAPI
from starlette.testclient import TestClient

from diptych.serve.assembly import Content, server
from diptych.serve.protocols import health
from diptych.serve.service import Service
from diptych.serve.settings import Settings


def test_a_server_is_ready_until_it_stops(content: Content) -> None:
    with TestClient(server(Settings(), content), base_url="http://127.0.0.1") as client:
        assert client.get("/ready").json() == {"ready": True, "waiting": 0, "models": ["colours"]}
        assert client.get("/health").status_code == 200
    # The end of its life: nothing more is taken.
    assert client.get("/ready").status_code == client.get("/health").status_code == 503
    assert client.post("/v1/embeddings", json={"input": "red"}).status_code == 503


def test_a_client_whose_queue_is_full_makes_the_server_no_less_ready_for_others(content: Content) -> None:
    settings, started, go = Settings(capacity=2), threading.Event(), threading.Event()
    service = Service(settings, content.models)
    batcher, application = service.batcher, FastAPI()
    application.include_router(health.router(service))
    with TestClient(application, base_url="http://127.0.0.1") as client:

        def wait() -> None:
            started.set()
            go.wait(30)

        jobs = [batcher.call("slow", wait, ("one", 1))]
        assert started.wait(30)
        for asker in (("one", 1), ("two", 2), ("three", 3), ("four", 4)):
            jobs += [batcher.call("slow", lambda: None, asker) for _ in range(2)]
            full = asker[0] == "four"
            answer = client.get("/ready")
            assert (answer.status_code, answer.json()["ready"]) == ((503, False) if full else (200, True)), asker
        go.set()
        for job in jobs:
            job.result(30)
    service.close()
