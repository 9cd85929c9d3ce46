from __future__ import annotations

import asyncio
import base64
import gc
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from diptych.serve.assembly import Content, server
from diptych.serve.batcher import Lane
from diptych.serve.inputs import Input
from diptych.serve.model import ServedModel
from diptych.serve.refusals import GoneError, Refusal
from diptych.serve.service import LONG, Service
from diptych.serve.settings import Settings
from diptych.serve.turns import ASKER, Workers
from tests.support.servers.serving import colour_uri


class Caller:
    """A request whose client goes away after some seconds; None: never."""

    def __init__(self, after: float | None = None) -> None:
        self._after = after

    async def receive(self) -> dict[str, str]:
        await asyncio.sleep(3600 if self._after is None else self._after)
        return {"type": "http.disconnect"}


def blocked(service: Service) -> threading.Event:
    free = threading.Event()
    service.batcher.call("hold", lambda: free.wait(5))
    return free


def test_many_clients_at_once_get_their_own_answers_and_share_batches(model: ServedModel) -> None:
    service = Service(Settings(longest_wait=0.02), [model])
    texts = [f"{colour} {i}" for i in range(8) for colour in ("red", "green", "blue", "pink")]
    texts += ["red " * LONG, "blue " * LONG]  # made into tokens in a thread

    async def every() -> list[Any]:
        return await asyncio.gather(*(service.embed(Caller(), model, [Input("text", text)]) for text in texts))

    found = asyncio.run(every())
    assert np.array_equal(np.concatenate([f.vectors for f in found]), model.model.encode_text(texts))
    assert service.batcher.counts.batches < len(texts)
    service.close()


def test_a_client_that_goes_away_frees_its_place(model: ServedModel) -> None:
    service = Service(Settings(), [model])
    free = blocked(service)
    with pytest.raises(GoneError):
        asyncio.run(service.embed(Caller(0.05), model, [Input("text", "red")]))
    free.set()
    service.close()
    assert service.batcher.counts.dropped == 1


def test_an_answer_that_does_not_come_in_time_is_given_up(model: ServedModel) -> None:
    service = Service(Settings(timeout=0.1), [model])
    free = blocked(service)
    with pytest.raises(Refusal, match=r"within 0\.1 s") as caught:
        asyncio.run(service.embed(Caller(), model, [Input("text", "red")]))
    assert caught.value.status == 504
    free.set()
    service.close()


def test_a_full_queue_is_said_with_429_and_every_other_request_is_answered(content: Content) -> None:
    """Mixed requests of many clients against a queue that is too short: no error but the promised ones."""
    slow = Lane("slow", lambda items: time.sleep(0.002) or [np.ones(4, np.float32)] * len(items), merges=False)
    model = ServedModel("colours", content.models[0].model)
    model.lanes["text"] = slow
    with TestClient(server(Settings(capacity=8), Content((model,))), base_url="http://127.0.0.1") as client:

        def ask(i: int) -> tuple[int, str]:
            given = colour_uri("red") if i % 3 == 0 else [f"text {i}"] * 4
            answer = client.post("/v1/embeddings", json={"input": given})
            return answer.status_code, answer.headers.get("retry-after", "")

        with ThreadPoolExecutor(16) as clients:
            answers = list(clients.map(ask, range(120)))
    assert {status for status, _ in answers} <= {200, 429}
    assert any(status == 200 for status, _ in answers)
    assert all(retry.isdecimal() for status, retry in answers if status == 429)


def test_a_client_that_leaves_while_the_model_runs_is_no_error_of_the_loop(model: ServedModel) -> None:
    service, said = Service(Settings(), (model,)), list[str]()

    async def leave() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context["message"]))
        with pytest.raises(Refusal, match="closed the connection"):
            await service.results(Caller(0.02), [service.batcher.call("slow", lambda: time.sleep(0.1))])
        await asyncio.sleep(0.2)
        gc.collect()

    asyncio.run(leave())
    service.close()
    assert not said


def wait_until_let_go(service: Service) -> None:
    """Wait until no picture counts: the thread that answered refers to its result a moment longer than the caller."""
    end = time.monotonic() + 30
    while service._pixels and time.monotonic() < end:
        gc.collect()
        time.sleep(0.01)
    assert service._pixels == 0


def test_decoded_pictures_in_memory_are_bounded(model: ServedModel) -> None:
    """A few bytes of a flat picture are many pixels: each is within its bound, and together they are not."""
    service = Service(Settings(max_pixels=1000), [model])
    file = io.BytesIO()
    Image.new("RGB", (30, 30), "red").save(file, "PNG")
    large = Input("image", file.getvalue(), "large")
    held = asyncio.run(service.pictures([large] * 8))
    with pytest.raises(Refusal, match="more than 8,000 pixels") as caught:
        asyncio.run(service.pictures([large]))
    assert caught.value.status == 429
    del held, caught
    wait_until_let_go(service)
    assert len(asyncio.run(service.pictures([large] * 8))) == 8
    wait_until_let_go(service)
    assert len(asyncio.run(service.embed(Caller(), model, [large] * 30)).values) == 30, "these are let go one by one"
    service.close()


def test_a_request_of_many_pictures_does_not_starve_another_client(model: ServedModel) -> None:
    """By the order in which answers come: 100 large pictures were asked for first, and a small one comes before."""
    service, order = Service(Settings(), [model]), list[str]()
    service._workers = Workers(1)
    large = []
    for i in range(100):
        file = io.BytesIO()
        Image.new("RGB", (600, 600), (i, 0, 0)).save(file, "PNG")
        large.append(Input("image", file.getvalue(), f"large {i}"))

    async def ask(client: str, number: int, inputs: list[Input]) -> None:
        ASKER.set((client, number))
        await service.embed(Caller(), model, inputs)
        order.append(client)

    async def both() -> None:
        first = asyncio.ensure_future(ask("greedy", 1, large))
        await asyncio.sleep(0)
        await asyncio.gather(first, ask("modest", 2, [Input("image", large[0].value, "small")]))

    asyncio.run(both())
    service.close()
    assert order == ["modest", "greedy"]


def test_the_pictures_of_a_request_have_a_budget(content: Content, serve: Any) -> None:
    client = serve(max_pixels=1000, max_request_pixels=2000)
    file = io.BytesIO()
    Image.new("RGB", (30, 30), "red").save(file, "PNG")
    uri = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    assert client.post("/v1/embeddings", json={"input": [uri] * 2}).status_code == 200
    for path, body in (
        ("/v1/embeddings", {"input": [uri] * 3}),
        ("/v1/segment", {"images": [uri] * 3, "labels": ["a", "b"]}),
        ("/v1/classify", {"images": [uri] * 3, "classifier": "colour-classes"}),
    ):
        refused = client.post(path, json=body)
        assert refused.status_code == 413, refused.text
        assert "0.002 million pixels together, and these 0.0027" in refused.json()["message"]


def test_more_inputs_than_wait_in_the_queue_are_split_and_answered(serve: Any, model: ServedModel) -> None:
    client, texts = serve(capacity=8), [f"red {i}" for i in range(1000)]
    answer = client.post("/v1/embeddings", json={"input": texts})
    assert answer.status_code == 200, answer.text
    vectors = np.array([row["embedding"] for row in answer.json()["data"]], np.float32)
    assert np.array_equal(vectors, model.model.encode_text(texts))
    assert "diptych_batches_total 32.0" in client.get("/metrics").text
    refused = client.post("/v1/embeddings", json={"input": ["red"] * 2049})
    assert "1 to 2048 inputs" in refused.json()["message"]
    whole = client.post("/v1/segment", json={"images": [colour_uri("red")] * 129, "labels": ["a", "b"]})
    assert "1 to 128 inputs, not 129" in whole.json()["message"]


def test_work_in_threads_is_given_up_in_time(model: ServedModel) -> None:
    service, free = Service(Settings(timeout=0.1), [model]), threading.Event()
    with pytest.raises(Refusal, match=r"within 0\.1 s"):
        asyncio.run(service.thread(free.wait, 5))
    free.set()
    service.close()
