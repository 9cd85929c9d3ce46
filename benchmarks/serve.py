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
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

MODEL = "ViT-B-32"


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def batched(port: int, cache: str, name: str) -> None:
    """Run ``diptych serve``'s application."""
    import diptych
    from diptych.serve.assembly import Content, server
    from diptych.serve.model import ServedModel
    from diptych.serve.run import run
    from diptych.serve.settings import Settings

    weights: Any = "random" if name == MODEL else "required"
    model = ServedModel("model", diptych.load(name, weights=weights, cache=cache))
    print("merges:", {modality: lane.merges for modality, lane in model.lanes.items()}, flush=True)
    settings = Settings(port=port, timeout=300)
    run(server(settings, Content((model,))), settings)


def plain(port: int, cache: str, name: str) -> None:
    """Run what people write first: a route that encodes each request by itself, in FastAPI's threads."""
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


async def asked(address: str, requests: list[dict[str, str]], clients: int) -> tuple[float, list[float]]:
    """Send requests from clients that each wait for their answer; return the seconds in all, and those of each."""
    waiting, times = list(reversed(requests)), list[float]()

    async def client(connections: httpx.AsyncClient) -> None:
        while waiting:
            body, start = waiting.pop(), time.perf_counter()
            answer = await connections.post(f"{address}/v1/embeddings", json=body)
            assert answer.status_code == 200, answer.text
            times.append(time.perf_counter() - start)

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(timeout=300, limits=limits) as connections:
        start = time.perf_counter()
        await asyncio.gather(*(client(connections) for _ in range(clients)))
        return time.perf_counter() - start, times


def measured(target: Any, requests: list[dict[str, str]], clients: int, cache: str, name: str) -> dict[str, float]:
    """Start a server, warm it up, and measure."""
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=target, args=(port, cache, name), daemon=True)
    process.start()
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                if httpx.get(f"{address}/ready").status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.5)
        asyncio.run(asked(address, requests[: 2 * clients], clients))
        seconds, times = asyncio.run(asked(address, requests, clients))
    finally:
        process.terminate()
        process.join(30)
    p50, p99 = np.quantile(times, (0.5, 0.99))
    return {"requests_per_second": len(requests) / seconds, "p50": float(p50), "p99": float(p99)}


def main() -> None:
    """Measure both, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--cache", default="out/cache-serve")
    parser.add_argument("--out", type=Path, default=Path("out/serve.json"))
    options = parser.parse_args()
    requests = bodies(options.requests)
    rounds = [
        {
            name: measured(target, requests, options.clients, options.cache, options.model)
            for name, target in (("plain", plain), ("diptych", batched))
        }
        for _ in range(options.rounds)
    ]
    ratio = float(np.median([r["diptych"]["requests_per_second"] / r["plain"]["requests_per_second"] for r in rounds]))
    result = {
        "model": options.model,
        "clients": options.clients,
        "requests": options.requests,
        "rounds": rounds,
        "ratio": ratio,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
