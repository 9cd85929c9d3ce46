"""Run a server until it is told to stop, and then answer what it accepted."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from diptych.core import UsageError
from diptych.core.wording import number_of
from diptych.serve.guard import LOG
from diptych.serve.settings import Settings

GRACE = 30
"""Seconds after SIGTERM in which accepted requests are answered."""


HEAD_SECONDS, READ_SECONDS = 15.0, 60.0
"""Seconds in which the head of a request must have come, and in which a full buffer of an answer must be read."""


class BoundedProtocol(H11Protocol):  # type: ignore[misc]
    """A connection that is closed where its client sends no whole head, or reads no answer: uvicorn waits for ever, and
    a few hundred such clients would take all connections that a process may have.
    """

    _late: Any = None
    _unread: Any = None

    def connection_made(self, transport: Any) -> None:
        """Wait for a head."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes in, of which the last may be a part of a head."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next head."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._unread = self._unread or self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Write on."""
        super().resume_writing()
        self._unread = _cancelled(self._unread)

    def timeout_keep_alive_handler(self) -> None:
        """Close; what the client still does not read is given up."""
        super().timeout_keep_alive_handler()
        self._unread = self._unread or self.loop.call_later(READ_SECONDS, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing."""
        super().connection_lost(exc)
        self._late, self._unread = _cancelled(self._late), _cancelled(self._unread)

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._late = _cancelled(self._late)
        elif self._late is None and not self.transport.is_closing():
            self._late = self.loop.call_later(HEAD_SECONDS, self.transport.abort)


def _cancelled(timer: Any) -> Any:
    if timer is not None:
        timer.cancel()
    return None


class ReportingServer(uvicorn.Server):  # type: ignore[misc]
    """A server that reports when it stops, and what it waits for."""

    report: Callable[[str], None]

    async def shutdown(self, sockets: Any = None) -> None:
        """Take no more connections, and answer what was accepted."""
        count = len(self.server_state.tasks)
        waited = number_of(count, "open request has", "open requests have")
        self.report(
            f"diptych stops when {waited} an answer; Ctrl-C again does not wait." if count else "diptych stops."
        )
        await super().shutdown(sockets)


def run(app: Any, settings: Settings, report: Callable[[str], None] = LOG.info) -> None:
    """Listen until SIGTERM or Ctrl-C; then take no more connections, and answer what was accepted.

    Args:
        app: of ``assembly.server``.
        settings: address and bounds.
        report: takes a sentence when it stops.

    Raises:
        SystemExit: the address cannot be opened.
        KeyboardInterrupt: it was stopped by Ctrl-C.
    """
    server = ReportingServer(configured(app, settings))
    server.report = report
    try:
        server.run()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("diptych has stopped.") from None
    report("diptych has stopped.")


def refuse_taken(settings: Settings) -> None:
    """Refuse an address that cannot be opened, before models are loaded.

    Raises:
        UsageError: another process listens there, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does: a closed server leaves no trace
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise UsageError(
                f"Port {settings.port} of {settings.host} cannot be opened ({error.strerror}): give another "
                f"--port, or stop the process that uses it."
            ) from error


def configured(app: Any, settings: Settings) -> Any:
    """Return uvicorn's settings: no log of its own but warnings, no banner, and nothing taken from proxies' headers.

    Always ``BoundedProtocol``: uvicorn prefers httptools where it is installed, and there no bound on the
    headers' size holds.
    """
    return uvicorn.Config(
        app, host=settings.host, port=settings.port, log_level="warning", access_log=False, server_header=False,
        date_header=False, proxy_headers=False, timeout_graceful_shutdown=GRACE, lifespan="on", ws="none",
        http=BoundedProtocol, h11_max_incomplete_event_size=64 * 1024,
    )  # fmt: skip


def log_requests() -> None:
    """Write a line of JSON a request to stderr: method, path, status, time and bytes; no query, no text, no picture."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("diptych.serve")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
