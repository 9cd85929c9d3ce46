"""A chat server on 127.0.0.1 whose habits go by the model's name. Run it; it prints its port."""

from __future__ import annotations

import base64
import io
import json
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SEEN: Counter[str] = Counter()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.answer(200, json.dumps(SEEN).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model = body["model"]
        SEEN[model] += 1
        if self.path != "/v1/chat/completions":
            SEEN["elsewhere"] += 1
            return self.answer(404, b"no such page")
        if model == "flaky" and SEEN[model] < 3:
            return self.answer(503, b"busy", {"Retry-After": "0"})
        if model == "hangup" and SEEN[model] < 2:
            self.close_connection = True
            return self.connection.close()
        if model == "down":
            return self.answer(503, b"busy for good")
        if model == "forbidden":
            return self.answer(401, b'{"error": "no such key"}')
        if model == "redirect":
            return self.answer(302, b"", {"Location": "/elsewhere"})
        if model == "page":
            return self.answer(200, b"<html>welcome</html>")
        if model == "odd":
            return self.answer(200, b'{"choices": []}')
        if model == "silent":
            return self.completion(model, "  ")
        if model == "huge":
            return self.answer(200, b"x" * (5 * 2**20))
        if model == "slow":
            time.sleep(3)
        if model == "mirror":
            return self.completion(model, json.dumps({"body": body, "key": self.headers.get("Authorization")}))
        content = body["messages"][-1]["content"]
        if isinstance(content, list):
            from PIL import Image

            picture = Image.open(
                io.BytesIO(base64.b64decode(content[1]["image_url"]["url"].removeprefix("data:image/png;base64,")))
            )
            return self.completion(model, f"{content[0]['text']} {picture.size} {picture.getpixel((0, 0))}")
        return self.completion("echo-1.0", f"{content} ({SEEN[model]})\n")

    def completion(self, model: str, text: str) -> None:
        self.answer(
            200, json.dumps({"model": model, "choices": [{"message": {"role": "assistant", "content": text}}]}).encode()
        )

    def answer(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)  # noqa: T201
    server.serve_forever()
