"""Servers with OpenAI's chat protocol: a hosted model, vLLM, llama.cpp, Ollama."""

from __future__ import annotations

import base64
import io
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from http.client import HTTPException, HTTPMessage
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from diptych.core import Ask, DataError, NotAvailable, Text, UsageError

MAX_REPLY = 4 * 2**20
MAX_WAIT = 60.0
_BUSY = {408, 409, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class OpenAICompatible:
    """Sends one request to a server for each text, since many servers return only one.

    ``Recorded`` stores the replies, since the same prompt gives another text the next time.

    Args:
        base_url: up to and without "/chat/completions", such as "http://localhost:8000/v1".
        key_variable: environment variable with the API key, read for each request and not stored; "": no key.
        system: system message; "": none.
        limit: largest number of tokens of a text.
        temperature: >= 0.
        timeout: seconds without a reply.
        attempts: largest number of attempts, where the server is busy or the connection fails.
        wait: seconds before the second attempt, doubled before each further one. A server's Retry-After of up to a
            minute replaces it.
        workers: number of concurrent requests.

    Raises:
        UsageError: the address is not http(s) or has a password, or a number is out of its range; on writing: no such
            environment variable, or the server refuses the request.
        NotAvailable: on writing, the server cannot be reached, or stays busy.
        DataError: on writing, the reply has another form.
    """

    base_url: str
    model: str
    key_variable: str = ""
    system: str = ""
    limit: int = 256
    temperature: float = 0.7
    timeout: float = 60.0
    attempts: int = 4
    wait: float = 1.0
    workers: int = 4

    def __post_init__(self) -> None:
        address = urlsplit(self.base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise UsageError(f"{self.base_url!r} is no address: give one such as http://localhost:8000/v1.")
        if address.username or address.password or address.query or address.fragment:
            raise UsageError(
                "The address holds more than host and path: put the API key in an environment variable and name it."
            )
        if (
            min(self.limit, self.attempts, self.workers) < 1
            or min(self.temperature, self.wait) < 0
            or self.timeout <= 0
        ):
            raise UsageError(
                "limit, attempts and workers must be at least 1, temperature and wait at least 0, and timeout above 0."
            )

    def write(self, asks: Sequence[Ask]) -> list[list[Text]]:
        """Return n texts for each request; images are sent as PNG."""
        bodies = [self._body(ask) for ask in asks for _ in range(ask.n)]
        with ThreadPoolExecutor(self.workers) as pool:
            texts = pool.map(self._ask, bodies)
            return [[_text(next(texts), ask.prompt) for _ in range(ask.n)] for ask in asks]

    def _body(self, ask: Ask) -> bytes:
        if not ask.prompt.strip():
            raise UsageError(
                f"{self.model} answers a prompt, and the one about {ask.about!r} is empty: say what it should write."
            )
        content: Any = ask.prompt
        if ask.image is not None:
            png = io.BytesIO()
            ask.image.save(png, format="PNG")
            url = "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
            content = [{"type": "text", "text": ask.prompt}, {"type": "image_url", "image_url": {"url": url}}]
        messages = [{"role": "system", "content": self.system}] if self.system else []
        body = {"model": self.model, "messages": [*messages, {"role": "user", "content": content}]}
        return json.dumps(body | {"max_tokens": self.limit, "temperature": self.temperature}).encode()

    def _ask(self, body: bytes) -> tuple[str, str]:
        """Return (text, who wrote it)."""
        raw = self._sent(body)
        try:
            reply = json.loads(raw)
            value = reply["choices"][0]["message"]["content"]
            model = reply.get("model", self.model)
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            value = model = None
        if not isinstance(value, str) or not value.strip() or not isinstance(model, str):
            raise DataError(
                f"{self._host} answered with no text ({_excerpt(raw)}): check that the address is a chat server's."
            )
        return value.strip(), f"{model} at {self._host}"

    def _sent(self, body: bytes) -> bytes:
        """Send a request until there is a reply."""
        failure = ""
        for attempt in range(self.attempts):
            pause = self.wait * 2**attempt
            try:
                with build_opener(NoRedirect).open(self._request(body), timeout=self.timeout) as answer:
                    raw: bytes = answer.read(MAX_REPLY + 1)
                if len(raw) > MAX_REPLY:
                    raise DataError(
                        f"{self._host} answered with more than {MAX_REPLY // 2**20} MiB: check that it is a chat "
                        f"server."
                    )
                return raw
            except HTTPError as error:
                with error:
                    failure = f"status {error.code}, {_excerpt(error.read(MAX_REPLY))}"
                if error.code not in _BUSY:
                    raise UsageError(
                        f"{self._host} refused the request ({failure}): check the address, the model's name and the "
                        f"key."
                    ) from None
                pause = _retry_after(error.headers, pause)
            except (OSError, HTTPException) as error:
                failure = str(getattr(error, "reason", error)) or type(error).__name__
            if attempt < self.attempts - 1:
                time.sleep(min(pause, MAX_WAIT))
        raise NotAvailable(
            f"{self._host} gave no answer in {self.attempts} attempts ({failure}): is the server up, and the network?"
        )

    def _request(self, body: bytes) -> Request:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "diptych"}
        if self.key_variable:
            key = os.environ.get(self.key_variable, "").strip()
            if not key:
                raise UsageError(f"The environment variable {self.key_variable} is empty: put the API key there.")
            headers["Authorization"] = f"Bearer {key}"
        return Request(self.base_url.rstrip("/") + "/chat/completions", data=body, headers=headers, method="POST")

    @property
    def _host(self) -> str:
        return urlsplit(self.base_url).netloc


class NoRedirect(HTTPRedirectHandler):
    """Follows no redirect: urllib would hand the API key to wherever it leads, which might be a private address."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Follow nothing."""


def _text(answer: tuple[str, str], prompt: str) -> Text:
    value, writer = answer
    return Text(value, writer, prompt, datetime.now(UTC).date().isoformat())


def _retry_after(headers: Message, otherwise: float) -> float:
    value = headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else otherwise


def _excerpt(raw: bytes) -> str:
    """Return the beginning of a reply on one line, for an error."""
    return " ".join(raw[:200].decode(errors="replace").split()) or "no words"
