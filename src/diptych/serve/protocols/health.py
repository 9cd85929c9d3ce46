"""Whether the server lives, whether it takes requests, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from diptych import __version__
from diptych.serve.batcher import CLIENTS
from diptych.serve.service import Service


@dataclass(frozen=True)
class Health:
    """Whether the process answers: "UP" or "DOWN"."""

    status: str
    model_class: str
    version: str


@dataclass(frozen=True)
class Readiness:
    """Whether requests are taken, and the number of inputs that wait."""

    ready: bool
    waiting: int
    models: list[str]


def router(service: Service) -> APIRouter:
    """Return the routes.

    ``/health`` also has the fields that Label Studio reads.
    """

    async def health() -> JSONResponse:
        """Say that the process answers; 503 where the thread of the models has ended."""
        alive = service.batcher.alive
        content = {"status": "UP" if alive else "DOWN", "model_class": service.first.name, "version": __version__}
        return JSONResponse(content, 200 if alive else 503)

    async def ready() -> JSONResponse:
        """Say whether requests are taken now; 503 while the server starts or stops, or its queue is full."""
        free = service.batcher.waiting < CLIENTS * service.settings.capacity  # one client fills its part alone
        ok = service.ready and service.batcher.alive and free
        state: dict[str, Any] = {"ready": ok, "waiting": service.batcher.waiting, "models": list(service.models)}
        return JSONResponse(state, 200 if ok else 503)

    async def metrics() -> Response:
        """Return counts in Prometheus' text form."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    routes = APIRouter(tags=["health"])
    for path, answer, form in (("/health", health, Health), ("/ready", ready, Readiness)):
        not_now = {"model": form, "description": "Not now."}
        routes.add_api_route(path, answer, methods=["GET"], responses={200: {"model": form}, 503: not_now})
    routes.add_api_route("/metrics", metrics, methods=["GET"], response_class=PlainTextResponse)
    return routes
