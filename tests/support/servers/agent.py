"""A chat server on 127.0.0.1 that sees the mean colour of a picture: it describes, revises, judges and shortens."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

COLOURS = {"red": (200, 60, 60), "green": (60, 190, 70), "blue": (60, 80, 200), "yellow": (200, 190, 60)}


class Handler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = body["messages"][-1]["content"]
        said = self.said(content[0]["text"], self.colour(content[1])) if isinstance(content, list) else content[-24:]
        data = json.dumps({"model": body["model"], "choices": [{"message": {"content": said}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    @staticmethod
    def colour(part: dict[str, Any]) -> str:
        data = base64.b64decode(part["image_url"]["url"].removeprefix("data:image/png;base64,"))
        with Image.open(io.BytesIO(data)) as image:
            mean = np.asarray(image.convert("RGB")).mean((0, 1))
        return min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))

    @staticmethod
    def said(prompt: str, colour: str) -> str:
        if "yes or no" in prompt:
            return "Yes." if colour in prompt and colour != "blue" else "No."
        return f"The tile is {colour}." if "corrected" in prompt else "The tile is stained."


@contextlib.contextmanager
def agent_server() -> Iterator[str]:
    """Give the address of a server, which ends with the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
