"""Requests a second at 32 clients: ``diptych serve`` against a plain FastAPI script of the same model, without batches.

python -m benchmarks.serve --clients 32 --requests 320 --out out/serve.json

The model is open_clip's ViT-B-32 with random weights (speed does not depend on them), or ``--model lite``. A client
sends one request after another: a picture, then a text. Both servers run in a process of their own on this machine,
one after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from diptych.features.pipeline import cores

MODEL = "ViT-B-32"


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def batched(port: int, cache: str, name: str, precision: str) -> None:
    """Run ``diptych serve``'s application."""
    import diptych
    from diptych.serve.assembly import Content, server
    from diptych.serve.model import ServedModel
    from diptych.serve.run import run
    from diptych.serve.settings import Settings

    weights: Any = "random" if name == MODEL else "required"
    model = ServedModel("model", diptych.load(name, weights=weights, cache=cache, precision=precision))
    print("merges:", {modality: lane.merges for modality, lane in model.lanes.items()}, flush=True)
    settings = Settings(port=port, timeout=300)
    run(server(settings, Content((model,))), settings)


def plain(port: int, cache: str, name: str, precision: str) -> None:
    """Run what people write first: a route that encodes each request by itself in float32, in FastAPI's threads."""
    import open_clip
    import torch
    import uvicorn
    from fastapi import FastAPI

    import diptych

    encode_image: Callable[[Any], Any]
    encode_text: Callable[[str], Any]
    if name == MODEL:
        model, _, preprocess = open_clip.create_model_and_transforms(MODEL)
        model.eval()
        tokenizer = open_clip.get_tokenizer(MODEL)

        def encode_image(image: Any) -> Any:
            return model.encode_image(preprocess(image)[None])

        def encode_text(text: str) -> Any:
            return model.encode_text(tokenizer([text]))
    else:  # the same towers in torch, one input at a time
        loaded = diptych.load(name, engine="torch", cache=False)

        def encode_image(image: Any) -> Any:
            return loaded.image.encode(loaded.image.inputs([image]))

        def encode_text(text: str) -> Any:
            return loaded.text.encode(loaded.text.inputs([text]))

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


def bodies(count: int) -> list[dict[str, str]]:
    """Return requests, every second one a picture of 320 x 240 pixels."""
    rng, rows = np.random.default_rng(0), []
    for i in range(count):
        if i % 2:
            rows.append({"input": f"a photo of {i} things on a table", "encoding_format": "base64"})
            continue
        file = io.BytesIO()
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        coarse.resize((320, 240), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        uri = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
        rows.append({"input": uri, "encoding_format": "base64"})
    return rows


async def answered(reader: asyncio.StreamReader) -> int:
    """Read an answer with a stated length, and return its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
    return int(head.split()[1])


async def asked(port: int, requests: list[dict[str, str]], clients: int) -> tuple[float, list[float]]:
    """Send requests from clients that each wait for their answer; return the seconds in all, and those of each.

    A client is a bare connection: a library for HTTP takes more of the cores that the servers share than they do.
    """
    head = "POST /v1/embeddings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
    bodies = [json.dumps(body).encode() for body in requests]
    waiting, times = [head.encode() + b"%d\r\n\r\n" % len(b) + b for b in reversed(bodies)], list[float]()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while waiting:
            sent, start = waiting.pop(), time.perf_counter()
            writer.write(sent)
            status = await answered(reader)
            assert status == 200, status
            times.append(time.perf_counter() - start)
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return time.perf_counter() - start, times


def seconds_of(process: int) -> float:
    """Return the CPU seconds of a process and its threads."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(
    target: Any, requests: list[dict[str, str]], clients: int, cache: str, name: str, precision: str
) -> dict[str, float]:
    """Start a server, warm it up, and measure: many clients, then one.

    ``cpu_ms`` is CPU time of the server for a request of the many clients. On cores that others share it says more than
    requests a second do: there a process with many threads gets a larger share of the machine.
    """
    port = free_port()
    given = (port, cache, name, precision)
    process = multiprocessing.get_context("spawn").Process(target=target, args=given, daemon=True)
    process.start()
    try:
        for _ in range(1200):  # a model is exported at its first start
            try:
                if httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.5)
        asyncio.run(asked(port, requests[: 2 * clients], clients))
        before = seconds_of(process.pid or 0)
        seconds, times = asyncio.run(asked(port, requests, clients))
        used = seconds_of(process.pid or 0) - before
        _, alone = asyncio.run(asked(port, requests[:32], 1))
    finally:
        process.terminate()
        process.join(30)
    p50, p99 = np.quantile(times, (0.5, 0.99))
    return {
        "requests_per_second": len(requests) / seconds, "cpu_ms": 1000 * used / len(requests), "p50": float(p50),
        "p99": float(p99), "alone_p50": float(np.median(alone)),
    }  # fmt: skip


def main() -> None:
    """Measure both, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--precision", default="exact", help="of diptych serve; only exact gives the same bits")
    parser.add_argument("--cache", default="out/cache-serve")
    parser.add_argument("--out", type=Path, default=Path("out/serve.json"))
    options = parser.parse_args()
    requests = bodies(options.requests)
    rounds = [
        {
            name: measured(target, requests, options.clients, options.cache, options.model, options.precision)
            for name, target in (("plain", plain), ("diptych", batched))
        }
        for _ in range(options.rounds)
    ]
    faster = [r["diptych"]["requests_per_second"] / r["plain"]["requests_per_second"] for r in rounds]
    cheaper = [r["plain"]["cpu_ms"] / r["diptych"]["cpu_ms"] for r in rounds]
    result = {
        "model": options.model,
        "clients": options.clients,
        "requests": options.requests,
        "rounds": rounds,
        "precision": options.precision,
        "cores": cores(),
        "ratio": float(np.median(faster)),
        "cpu_ratio": float(np.median(cheaper)),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
