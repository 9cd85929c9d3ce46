"""Run a server until it is told to stop, and then answer what it accepted."""

from __future__ import annotations

import logging
import socket
import sys
from typing import Any

import uvicorn

from diptych.core.errors import UsageError
from diptych.serve.settings import Settings

GRACE = 30
"""Seconds after SIGTERM in which accepted requests are answered."""


def run(app: Any, settings: Settings) -> None:
    """Listen until SIGTERM or Ctrl-C; then take no more connections, and answer what was accepted.

    Args:
        app: of ``assembly.server``.
        settings: address and bounds.

    Raises:
        SystemExit: the address cannot be listened on.
    """
    uvicorn.Server(configured(app, settings)).run()


def refuse_taken(settings: Settings) -> None:
    """Refuse an address that cannot be listened on, before models are loaded.

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
                f"Port {settings.port} of {settings.host} cannot be listened on ({error.strerror}): give another "
                f"--port, or stop what listens there."
            ) from error


def configured(app: Any, settings: Settings) -> Any:
    """Return uvicorn's settings: no log of its own but warnings, no banner, and nothing taken from proxies' headers.

    Always h11: uvicorn prefers httptools where it is installed, and there no bound on the headers' size holds.
    """
    return uvicorn.Config(
        app, host=settings.host, port=settings.port, log_level="warning", access_log=False, server_header=False,
        date_header=False, proxy_headers=False, timeout_graceful_shutdown=GRACE, lifespan="on", ws="none",
        http="h11", h11_max_incomplete_event_size=64 * 1024,
    )  # fmt: skip


def log_requests() -> None:
    """Write a line of JSON a request to stderr: method, path, status, time and bytes; no query, no text, no picture."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("diptych.serve")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
