"""Requests a second of many clients: ``diptych serve`` beside a plain FastAPI script of the same model, unbatched.

Each server is a process of its own. All are started and warm before the first round, and wait while another is asked.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import multiprocessing
import os
import resource
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from benchmarks.encoders import backbone_of
from benchmarks.heads import write_openclip
from benchmarks.measure import Row, Target, gain

MEMORY = 8 * 2**30
"""Bytes of address space that a server of ours may have."""


def batched(port: int, model: str, cache: str, precision: str) -> None:
    """Run ``diptych serve``'s application."""
    import diptych
    from diptych.serve.assembly import Content, server
    from diptych.serve.model import ServedModel
    from diptych.serve.run import run
    from diptych.serve.settings import Settings

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    served = ServedModel("model", diptych.load(model, cache=cache, precision=precision))
    settings = Settings(port=port, timeout=300)
    run(server(settings, Content((served,))), settings)


def plain(port: int, model: str) -> None:
    """Run what people write first: a route that encodes each request by itself in float32, in FastAPI's threads."""
    import torch
    import uvicorn
    from fastapi import FastAPI

    encode_image, encode_text = torch_encoders(model)
    app = FastAPI()

    def embeddings(given: dict[str, Any]) -> dict[str, Any]:
        with torch.no_grad():
            text = given["input"]
            if text.startswith("data:"):
                image = Image.open(io.BytesIO(base64.b64decode(text.partition(",")[2]))).convert("RGB")
                row = encode_image(image)
            else:
                row = encode_text(text)
            unit = torch.nn.functional.normalize(row, dim=-1)[0]
        packed = base64.b64encode(unit.numpy().astype("<f4").tobytes()).decode()
        return {"data": [{"embedding": packed}]}

    def ready() -> dict[str, str]:
        return {}

    app.add_api_route("/v1/embeddings", embeddings, methods=["POST"])
    app.add_api_route("/ready", ready, methods=["GET"])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


def torch_encoders(model: str) -> tuple[Callable[[Any], Any], Callable[[str], Any]]:
    """Return functions that encode one picture, and one text, in torch: open_clip's, or for ``lite`` its own towers."""
    if not model.startswith("local:"):
        import diptych

        loaded = diptych.load(model, engine="torch", cache=False)
        return (
            lambda image: loaded.image.encode(loaded.image.inputs([image])),
            lambda text: loaded.text.encode(loaded.text.inputs([text])),
        )
    import open_clip

    name = model.replace("local:", "local-dir:")
    clip, _, preprocess = open_clip.create_model_and_transforms(name)
    clip.eval()
    tokenizer = open_clip.get_tokenizer(name)
    return (
        lambda image: clip.encode_image(preprocess(image)[None]),
        lambda text: clip.encode_text(tokenizer([text])),
    )


@contextlib.contextmanager
def answers(name: str, count: int, clients: int = 32) -> Iterator[Row]:
    """Requests of clients that each wait for their answer: by turns a picture of 320 x 240 pixels and a text.

    Args:
        name: "lite", or a backbone that open_clip can build: "ViT-B-32" with random weights, "tiny".
        count: of requests.
        clients: that ask at once.
    """
    requests, each = bodies(count), dict[str, dict[str, float]]()
    facts = {"clients": clients, "address space of a server, GiB": MEMORY // 2**30, "server": each}
    with tempfile.TemporaryDirectory(prefix="bench-serve-") as work, contextlib.ExitStack() as opened:
        model = name
        if name != "lite":
            backbone: Any = backbone_of(name)
            model = f"local:{write_openclip(backbone.module(), backbone.config, Path(work) / 'model')}"
        contenders = {}
        for who, target, given in (
            ("plain", plain, ()),
            ("diptych exact", batched, (work, "exact")),
            ("diptych fast", batched, (work, "fast")),
        ):
            port, process = opened.enter_context(started(target, model, *given))
            each[who] = {}
            contenders[who] = asking(port, process, requests, clients, each[who])
        yield Row(
            contenders,
            items=count,
            unit="requests",
            same=vectors,
            bounds={"diptych exact": 0.99999},
            facts=facts,
            targets=(
                Target("diptych exact / plain", gain("diptych exact", "plain"), 3.0),
                Target("p99 / p50 of diptych exact", lambda _: each["diptych exact"]["p99 / p50"], 10.0, least=False),
            ),
        )


def asking(
    port: int, process: int, requests: Sequence[bytes], clients: int, about: dict[str, float]
) -> Callable[[], list[bytes]]:
    """Return what sends all requests, and writes to ``about`` what was seen: medians over rounds, without the first.

    CPU time says more than requests a second on cores that others share: there a process with many threads gets more.
    """
    rounds: list[dict[str, float]] = []
    _, alone = asyncio.run(asked(port, requests[:32], 1))

    def ask() -> list[bytes]:
        before = seconds_of(process)
        replies, times = asyncio.run(asked(port, requests, clients))
        p50, p99 = np.quantile(times, (0.5, 0.99))
        used = 1000 * (seconds_of(process) - before) / len(requests)
        rounds.append({"CPU ms a request": used, "p50 s": p50, "p99 s": p99, "p99 / p50": p99 / p50})
        about.update({key: float(np.median([r[key] for r in rounds[1:] or rounds])) for key in rounds[0]})
        about.update({"p50 s of one client": float(np.median(alone)), "peak MiB": peak(process)})
        return replies

    return ask


def bodies(count: int) -> list[bytes]:
    """Return requests, every second one per picture."""
    rng, rows = np.random.default_rng(0), []
    for i in range(count):
        text = f"a photo of {i} things on a table"
        if i % 2 == 0:
            file = io.BytesIO()
            coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
            coarse.resize((320, 240), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
            text = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
        body = json.dumps({"input": text, "encoding_format": "base64"}).encode()
        head = "POST /v1/embeddings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        rows.append(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return rows


def vectors(replies: Sequence[bytes]) -> Any:
    """Return the vectors of answers, a row each."""
    packed = [json.loads(body)["data"][0]["embedding"] for body in replies]
    return np.stack([np.frombuffer(base64.b64decode(text), dtype="<f4") for text in packed])


async def asked(port: int, requests: Sequence[bytes], clients: int) -> tuple[list[bytes], list[float]]:
    """Send requests from clients that each wait for their answer; return the answers, and the seconds of each.

    A client is a bare connection: a library for HTTP takes more of the cores that the servers share than they do.
    """
    waiting, replies, times = list(enumerate(requests))[::-1], [b""] * len(requests), [0.0] * len(requests)

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while waiting:
            (i, sent), start = waiting.pop(), time.perf_counter()
            writer.write(sent)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            replies[i] = await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
            times[i] = time.perf_counter() - start
            assert head.split()[1] == "200", replies[i]
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return replies, times


@contextlib.contextmanager
def started(target: Callable[..., None], *given: str) -> Iterator[tuple[int, int]]:
    """Start a server in a process, and yield its port and process once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = multiprocessing.get_context("spawn").Process(target=target, args=(port, *given), daemon=True)
    process.start()
    try:
        while not ready(port):  # a model is exported at its first start, and timed
            if not process.is_alive():
                raise RuntimeError(f"the server {target.__name__} does not start")
            time.sleep(0.5)
        yield port, process.pid or 0
    finally:
        process.terminate()
        process.join(30)


def ready(port: int) -> bool:
    """Return whether a server takes requests."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready", timeout=30).status_code == 200
    except httpx.HTTPError:
        return False


def seconds_of(process: int) -> float:
    """Return the CPU seconds of a process and its threads."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak(process: int) -> float:
    """Return the most memory that a process has had, in MiB."""
    text = Path(f"/proc/{process}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) / 1024
