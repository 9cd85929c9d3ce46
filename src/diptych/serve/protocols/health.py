"""Whether the server lives, whether it takes requests, and what it counts."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from diptych import __version__
from diptych.serve.service import Service


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
        free = service.batcher.waiting < service.settings.capacity
        ok = service.ready and service.batcher.alive and free
        state: dict[str, Any] = {"ready": ok, "waiting": service.batcher.waiting, "models": list(service.models)}
        return JSONResponse(state, 200 if ok else 503)

    async def metrics() -> Response:
        """Return counts in Prometheus' text form."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    routes = APIRouter(tags=["health"])
    not_now: dict[int | str, dict[str, Any]] = {503: {"description": "Not now; the fields are those of 200."}}
    routes.add_api_route("/health", health, methods=["GET"], responses=not_now)
    routes.add_api_route("/ready", ready, methods=["GET"], responses=not_now)
    routes.add_api_route("/metrics", metrics, methods=["GET"], response_class=PlainTextResponse)
    return routes
