"""Run a server until it is told to stop, and then answer what it accepted."""

from __future__ import annotations

import logging
import sys
from typing import Any

import uvicorn

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


def configured(app: Any, settings: Settings) -> Any:
    """Return uvicorn's settings: no log of its own but warnings, no banner, and nothing taken from proxies' headers."""
    return uvicorn.Config(
        app, host=settings.host, port=settings.port, log_level="warning", access_log=False, server_header=False,
        date_header=False, proxy_headers=False, timeout_graceful_shutdown=GRACE, lifespan="on", ws="none",
        h11_max_incomplete_event_size=64 * 1024,
    )  # fmt: skip


def log_requests() -> None:
    """Write a line of JSON a request to stderr: method, path, status, time and bytes; no query, no text, no picture."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("diptych.serve")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
