"""Weaviate's multi2vec-clip: ``POST /vectorize``, ``GET /meta`` and the two paths by which it looks whether we live."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from diptych import __version__
from diptych.serve.inputs import Input
from diptych.serve.service import Service
from diptych.serve.uploads import picture_bytes


@dataclass(frozen=True)
class VectorizeRequest:
    """The body of a request for vectors.

    Args:
        texts: texts.
        images: pictures as base64.
    """

    texts: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class VectorizeAnswer:
    """Vectors of the texts and of the pictures, in their order; "error" is always empty."""

    textVectors: list[list[float]]  # noqa: N815 - Weaviate's name
    imageVectors: list[list[float]]  # noqa: N815
    error: str


@dataclass(frozen=True)
class MetaAnswer:
    """The first model."""

    version: str
    model: str
    dimensions: int
    type: str


def router(service: Service) -> APIRouter:
    """Return the routes."""

    async def vectorize(request: Request, given: VectorizeRequest) -> dict[str, Any]:
        """Return a vector a text and picture, by the first model."""
        pictures = [Input("image", picture_bytes(x, f"images {i}"), f"images {i}") for i, x in enumerate(given.images)]
        inputs = [*(Input("text", text) for text in given.texts), *pictures]
        embedded = await service.embed(request, service.first, inputs)
        texts = len(given.texts)
        return {
            "textVectors": embedded.vectors[:texts].tolist(),
            "imageVectors": embedded.vectors[texts:].tolist(),
            "error": "",
        }

    async def meta() -> dict[str, Any]:
        """Describe the first model."""
        spec = service.first.model.spec
        return {"version": __version__, "model": spec.name, "dimensions": spec.dim, "type": spec.family}

    async def well() -> Response:
        """Say that requests are taken."""
        return Response(status_code=204 if service.ready and service.batcher.alive else 503)

    routes = APIRouter(tags=["Weaviate"])
    routes.add_api_route("/vectorize", vectorize, methods=["POST"], responses={200: {"model": VectorizeAnswer}})
    routes.add_api_route("/meta", meta, methods=["GET"], responses={200: {"model": MetaAnswer}})
    for name in ("live", "ready"):
        routes.add_api_route(
            f"/.well-known/{name}", well, methods=["GET"], status_code=204, responses={503: {"description": "Not now."}}
        )
    return routes
