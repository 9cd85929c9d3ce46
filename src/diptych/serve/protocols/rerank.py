"""``POST /v1/rerank`` as Jina, infinity and vLLM answer it, and Cohere's ``/v2/rerank``: documents by their cosine.

{"query": "a cat", "documents": ["a dog", "data:image/jpeg;base64,...", {"text": "a kitten"}], "top_n": 2}
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import APIRouter, Request

from diptych.serve.numbers import Integer
from diptych.serve.protocols.openai import Usage, input_of
from diptych.serve.refusals import Refusal
from diptych.serve.service import Service


@dataclass(frozen=True)
class RerankRequest:
    """The body of a request for an order of documents.

    Args:
        query: a text, a data URI, or an object with "text" or "image".
        documents: texts, data URIs, or objects with "text" or "image".
        model: name or alias of a served model; "" is the first.
        top_n: number of results; null: all.
        return_documents: whether results hold the texts of their documents.
    """

    query: str | dict[str, Any]
    documents: list[str | dict[str, Any]]
    model: str = ""
    top_n: Integer | None = None
    return_documents: bool = False


@dataclass(frozen=True)
class Document:
    """A document."""

    text: str


@dataclass(frozen=True)
class Ranked:
    """A document: its position in the request, and its cosine with the query, in [-1, 1]."""

    index: int
    relevance_score: float
    document: Document | None = None


@dataclass(frozen=True)
class RerankAnswer:
    """Documents, the nearest to the query first."""

    id: str
    model: str
    results: list[Ranked]
    usage: Usage


def router(service: Service) -> APIRouter:
    """Return the routes."""

    async def rerank(request: Request, given: RerankRequest) -> dict[str, Any]:
        """Return documents, texts and pictures alike, by their cosine with the query."""
        if given.top_n is not None and given.top_n < 1:
            raise Refusal(400, f"top_n must be at least 1, got {given.top_n}.")
        model = service.model(given.model)
        query = input_of(given.query, "auto", "query")
        documents = [input_of(x, "auto", f"documents {i}") for i, x in enumerate(given.documents)]
        service.check_count(len(documents))
        vectors = (await service.embed(request, model, [query, *documents])).vectors
        scores = vectors[1:] @ vectors[0]
        results: list[dict[str, Any]] = []
        for i in np.argsort(-scores, kind="stable")[: given.top_n].tolist():
            row: dict[str, Any] = {"index": i, "relevance_score": float(scores[i])}
            if given.return_documents and documents[i].kind == "text":
                row["document"] = {"text": documents[i].value}
            results.append(row)
        return {
            "id": f"rerank-{uuid.uuid4().hex}", "model": given.model or model.name, "results": results,
            "usage": {"prompt_tokens": 0, "total_tokens": 0},
        }  # fmt: skip

    routes = APIRouter(tags=["Cohere", "Jina"])
    for path in ("/v1/rerank", "/v2/rerank", "/rerank"):
        routes.add_api_route(
            path, rerank, methods=["POST"], responses={200: {"model": RerankAnswer}},
            include_in_schema=path == "/v1/rerank",
        )  # fmt: skip
    return routes
