"""Cohere's ``POST /v2/embed``: texts, pictures, or inputs that hold both."""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray

from diptych.features.unit_rows import unit_rows
from diptych.serve.model import Vectors
from diptych.serve.refusals import Refusal
from diptych.serve.service import Input, Service
from diptych.serve.uploads import picture_bytes

Kind = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]


@dataclass(frozen=True)
class EmbedRequest:
    """The body of a request for embeddings.

    Args:
        model: name or alias of a served model.
        texts: texts.
        images: pictures as data URIs.
        inputs: objects {"content": [{"type": "text", "text": ...} or {"type": "image_url", "image_url": {"url":
            "data:..."}}]}; of several parts, the vector is that of the sum of their unit vectors.
        input_type: not read: these models embed queries and documents alike.
        embedding_types: forms of the vectors, see ``packed``.
        output_dimension: the width of the model, where it is given.
        max_tokens: not read.
        truncate: not read: what a text tower does with a long text is a setting of the model.
    """

    model: str = ""
    texts: list[str] | None = None
    images: list[str] | None = None
    inputs: list[dict[str, Any]] | None = None
    input_type: str | None = None
    embedding_types: list[Kind] = field(default_factory=lambda: ["float"])
    output_dimension: int | None = None
    max_tokens: int | None = None
    truncate: str | None = None


def packed(vectors: Vectors, kind: Kind) -> list[Any]:
    """Return N vectors in one of Cohere's forms.

    Args:
        vectors: (N, D) float32 unit vectors.
        kind: "float"; "int8" and "uint8", round(127 v) and that plus 128; "ubinary" and "binary", a bit a number, 1
            where it is above 0, eight a byte, minus 128 for "binary"; "base64", little-endian float32.
    """
    if kind == "float":
        return list(vectors.tolist())
    if kind == "base64":
        return [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in vectors]
    if kind in ("int8", "uint8"):
        whole = np.clip(np.rint(127 * vectors), -127, 127).astype(np.int64)
        return list((whole + (128 if kind == "uint8" else 0)).tolist())
    bits: NDArray[np.int64] = np.packbits(vectors > 0, axis=1).astype(np.int64)
    return list((bits - (128 if kind == "binary" else 0)).tolist())


def parts_of(given: EmbedRequest) -> list[list[Input]]:
    """Return the parts of each input.

    Raises:
        Refusal: none or several of texts, images and inputs, or a part of another kind.
    """
    named = [name for name in ("texts", "images", "inputs") if getattr(given, name)]
    if len(named) != 1:
        raise Refusal(400, f"Give one of texts, images and inputs, not {', '.join(named) or 'none of them'}.")
    if given.texts:
        if not all(given.texts):
            raise Refusal(400, "A text is empty: leave it out.")
        return [[Input("text", text)] for text in given.texts]
    if given.images:
        return [[_picture(data, f"images {i}")] for i, data in enumerate(given.images)]
    return [[_part(part, f"inputs {i}") for part in _content(x, i)] for i, x in enumerate(given.inputs or ())]


def _content(x: dict[str, Any], number: int) -> list[Any]:
    content = x.get("content")
    if not isinstance(content, list) or not content:
        raise Refusal(400, f'inputs {number} has no content: give {{"content": [{{"type": "text", "text": "..."}}]}}.')
    return content


def _part(part: Any, name: str) -> Input:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str) and part["text"]:
        return Input("text", part["text"])
    url = part.get("image_url") if kind == "image_url" else None
    address = url.get("url") if isinstance(url, dict) else url
    if not isinstance(address, str):
        raise Refusal(400, f"{name} has a part of type {kind!r}: give text or image_url.")
    return _picture(address, name)


def _picture(data: str, name: str) -> Input:
    return Input("image", picture_bytes(data, name), name)


def router(service: Service) -> APIRouter:
    """Return the routes."""

    async def embed(request: Request, given: EmbedRequest) -> dict[str, Any]:
        """Return embeddings of texts, pictures, or both."""
        model = service.model(given.model)
        if given.output_dimension not in (None, model.dim):
            raise Refusal(400, f"{model.name} has {model.dim} dimensions, not {given.output_dimension}: leave it out.")
        inputs = parts_of(given)
        service.check_count(len(inputs))
        found = await service.embed(request, model, [part for parts in inputs for part in parts])
        rows, start = [], 0
        for parts in inputs:
            own = found.vectors[start : start + len(parts)]
            rows.append(own[0] if len(parts) == 1 else unit_rows(own.sum(axis=0, keepdims=True))[0])
            start += len(parts)
        vectors = np.stack(rows)
        sizes = [size for size in found.sizes if size is not None]
        return {
            "id": str(uuid.uuid4()),
            "response_type": "embeddings_by_type",
            "embeddings": {kind: packed(vectors, kind) for kind in given.embedding_types},
            "texts": given.texts or [],
            "images": [
                {"width": w, "height": h, "format": "", "bit_depth": 24} for w, h in sizes
            ] if given.images else [],
            "meta": {"api_version": {"version": "2"}},
        }  # fmt: skip

    routes = APIRouter(tags=["Cohere"])
    routes.add_api_route("/v2/embed", embed, methods=["POST"])
    return routes
