"""What stands before every route: the host name, keys, bounds of bodies, headers of answers, counts and the log."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from hashlib import sha256
from itertools import count
from typing import Any

from starlette.exceptions import HTTPException

from diptych.serve.batcher import CLIENTS
from diptych.serve.metrics import Metrics
from diptych.serve.refusals import Refusal, body
from diptych.serve.settings import Settings
from diptych.serve.turns import ASKER

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LOG = logging.getLogger("diptych.serve")
OPEN = frozenset(("/health", "/ready"))
"""Paths that ask for no key: what looks whether a server lives has none."""
KEY_HEADERS = ("x-api-key", "api-key")
"""Headers in which some clients send their key, those of Azure's form among them."""
BODIES = 16
"""Largest bodies that may be in memory at once, in multiples of the largest one."""
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),  # with "no-referrer" browsers send forms of the page with "Origin: null"
    (b"cross-origin-resource-policy", b"same-origin"),
)
POLICY = (
    "default-src 'none'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Content security policy of every answer: nothing from elsewhere, no inline script."""
SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
METHODS = SAFE | {"POST", "PUT", "PATCH", "DELETE"}
LARGEST_HEAD = 64 * 1024
"""Bytes of the address and the headers of a request: uvicorn bounds those alone that come in parts."""
SLOWEST = 64 * 1024
"""Bytes a second at which a body must come, after the seconds of a request."""


class Guard:
    """An ASGI application around another one."""

    def __init__(self, app: Application, settings: Settings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics
        self._active: Counter[str] = Counter()  # client -> requests
        self._bytes = 0
        self._numbers = count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the routes answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = list(message.get("headers", ()))
                known = {name.lower() for name, _ in given}
                policy = (b"content-security-policy", POLICY.encode())
                message = {**message, "headers": [*given, *(h for h in (*HEADERS, policy) if h[0] not in known)]}
            await send(message)

        bounded, client = _Body(receive, self, headers), self._client(scope, headers)
        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope  # h11 sends no body of its answer
        token = ASKER.set((client, next(self._numbers)))
        self._active[client] += 1
        try:
            self._check(scope, headers, client)
            await self.app(inner, bounded, sent)
        except Refusal as refusal:
            await refuse(refusal, sent)
        finally:
            ASKER.reset(token)
            self._active[client] -= 1
            self._active += Counter()  # without clients that have no request
            self._bytes -= bounded.held
            seconds = time.perf_counter() - start
            route = getattr(inner.get("route"), "path", "") or ("other" if status == 404 else _guarded(scope["path"]))
            method = scope["method"] if scope["method"] in METHODS else "other"  # clients may make up any word
            self.metrics.answered(route, method, status, seconds)
            if LOG.isEnabledFor(logging.INFO):
                row = {"method": scope["method"], "path": scope["path"][:200], "status": status}
                LOG.info(json.dumps({**row, "ms": round(1000 * seconds, 1), "bytes": bounded.held}))

    def _client(self, scope: Scope, headers: dict[str, str]) -> str:
        """Return what counts as one client: an address, and the key that it shows."""
        address = str((scope.get("client") or ("",))[0])
        secret = _secret(headers) if self.settings.keys else ""
        known = secret and self.settings.admits(secret)
        return f"{address} {sha256(secret.encode('utf-8', 'surrogateescape')).hexdigest()}" if known else address

    def _check(self, scope: Scope, headers: dict[str, str], client: str) -> None:
        """Raise Refusal where the request is for another host, from another page, without key or too much."""
        settings = self.settings
        head = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
        head += sum(len(name) + len(value) + 4 for name, value in scope["headers"])
        if head > LARGEST_HEAD:
            raise Refusal(
                431, f"The address and headers of a request may have {LARGEST_HEAD:,} bytes, and these have {head:,}: "
                f"send less in them, and pictures in the body.",
            )  # fmt: skip
        host = headers.get("host", "")
        names = ("127.0.0.1", "localhost", "::1", *map(str.lower, (settings.host, *settings.hosts)))
        if settings.loopback and "host" in headers and _name(host) not in names:  # HTTP/1.0 has none, browsers have
            # A page elsewhere may let its name point to 127.0.0.1, and would then read what is served here.
            raise Refusal(
                421, f"This server is not {host[:80]!r}: use 127.0.0.1, or start it with this name as --host-name."
            )
        origin = headers.get("origin", "")
        if scope["method"] not in SAFE and origin and origin.partition("://")[2] != host:
            raise Refusal(403, f"A page of {origin[:80]} may not change anything here: open the server's own page.")
        if settings.keys and scope["path"] not in OPEN and not settings.admits(_secret(headers)):
            wanted = "send 'Authorization: Bearer KEY', or the key as X-API-Key, or as a browser's password."
            problem, code = "This key is none of the server's", "wrong_key"
            if not any(headers.get(name) for name in ("authorization", *KEY_HEADERS)):
                problem, code = "A key is needed", "no_key"
            elif not _secret(headers):
                problem = "The header Authorization holds no key"
            raise Refusal(
                401, f"{problem}: {wanted}", code, {"WWW-Authenticate": 'Basic realm="diptych", charset="UTF-8"'}
            )
        full = self._active[client] > settings.capacity or self._active.total() > CLIENTS * settings.capacity
        if full or self._bytes > BODIES * settings.max_bytes:
            raise Refusal(429, "Too many requests at once: try again in 1 s.", "busy", {"Retry-After": "1"})
        packing = headers.get("content-encoding", "identity").strip().lower()
        if packing not in ("", "identity"):  # a small one may unpack to any size
            raise Refusal(
                415,
                f"The body is compressed (Content-Encoding: {packing[:40]}): send it uncompressed.",
                "content_encoding",
            )  # fmt: skip
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > settings.max_bytes:
            raise _too_large(settings)

    def take(self, size: int) -> None:
        """Count bytes of bodies that are in memory."""
        self._bytes += size


class _Body:
    """The body of a request: counted while it comes, and refused where it is too large or too slow."""

    def __init__(self, receive: Receive, guard: Guard, headers: dict[str, str]) -> None:
        self._receive, self._guard = receive, guard
        self.held, self._whole = 0, headers.get("content-length", "") == "0"
        self._start = time.monotonic()

    async def __call__(self) -> Message:
        if self._whole:
            return await self._receive()
        settings = self._guard.settings
        left = settings.timeout + self.held / SLOWEST - (time.monotonic() - self._start)
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, left))
        except TimeoutError:
            raise HTTPException(408, f"The body did not arrive within {settings.timeout:g} s.") from None
        if message["type"] != "http.request":
            self._whole = True
            return message
        size = len(message.get("body", b""))
        self.held += size
        self._guard.take(size)
        self._whole = not message.get("more_body", False)
        if self.held > settings.max_bytes:  # HTTPException: FastAPI hides any other error of a body
            refusal = _too_large(settings)
            raise HTTPException(refusal.status, refusal.message)
        return message


async def refuse(refusal: Refusal, send: Send) -> None:
    """Send a refusal."""
    data = json.dumps(body(refusal)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    headers += [(n.lower().encode(), v.encode()) for n, v in refusal.headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": data})


def _too_large(settings: Settings) -> Refusal:
    return Refusal(413, f"A body may have {settings.max_bytes:,} bytes: send less at once, or raise --max-mib.")


def _secret(headers: dict[str, str]) -> str:
    """Return the key of a request: a bearer's, the password of basic authorization, which browsers can send, or what
    stands in a header that holds nothing else.
    """
    plain = next((headers[name] for name in KEY_HEADERS if headers.get(name)), "")
    kind, _, value = f"Bearer {plain}".partition(" ") if plain else headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return ""
    if kind.lower() != "bearer":
        return ""
    try:
        return value.strip().encode("latin-1").decode()  # keys are UTF-8, as their file is
    except UnicodeDecodeError:
        return value.strip()


def _name(host: str) -> str:
    """Return the name of a Host header in small letters, without port and brackets."""
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") < 2 else host


def _guarded(path: str) -> str:
    return path if path in OPEN else "guard"
