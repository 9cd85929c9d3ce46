"""Cohere's ``POST /v2/embed``: texts, pictures, or inputs that hold both; and ``/v1/embed``, which older clients use.

LangChain's CohereEmbeddings sends the form of ``/v1/embed``. There the vectors are a list where no ``embedding_types``
are named.
"""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray

from diptych.backbones.widths import at_width, check_width
from diptych.serve.inputs import Input
from diptych.serve.model import Cut, Vectors
from diptych.serve.numbers import Integer
from diptych.serve.protocols.content import content_of, joined, picture
from diptych.serve.refusals import Refusal
from diptych.serve.service import Service

Kind = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]
CUTS: dict[str, Cut] = {"NONE": "", "START": "start", "END": "end"}


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
        embedding_types: forms of the vectors, see ``packed``; null: "float".
        output_dimension: the width of the model, or of ``lite`` the first 1 to 512 numbers of its rotation.
        max_tokens: not read.
        truncate: which end of a text is left out that is longer than the model reads; "NONE": it is refused. Cohere's
            default is "END".
    """

    model: str = ""
    texts: list[str] | None = None
    images: list[str] | None = None
    inputs: list[dict[str, Any]] | None = None
    input_type: str | None = None
    embedding_types: list[Kind] | None = None
    output_dimension: Integer | None = None
    max_tokens: Integer | None = None
    truncate: Literal["NONE", "START", "END"] | None = None


@dataclass(frozen=True)
class Size:
    """Size of a picture."""

    width: int
    height: int
    format: str
    bit_depth: int


Numbers = list[list[float]]
Bytes = list[list[int]]


@dataclass(frozen=True)
class Typed:
    """Vectors by their form, those that were asked for."""

    float: Numbers | None = None
    int8: Bytes | None = None
    uint8: Bytes | None = None
    binary: Bytes | None = None
    ubinary: Bytes | None = None
    base64: list[str] | None = None


@dataclass(frozen=True)
class Version:
    """Version of the form."""

    version: str


@dataclass(frozen=True)
class Billed:
    """What is charged: nothing. Releases of Cohere's client for its first form add these up."""

    input_tokens: int = 0


@dataclass(frozen=True)
class Meta:
    """What Cohere's clients read beside the vectors."""

    api_version: Version
    billed_units: Billed


@dataclass(frozen=True)
class EmbedAnswer:
    """Vectors in each of the forms that were asked for."""

    id: str
    response_type: Literal["embeddings_by_type"]
    embeddings: Typed
    texts: list[str]
    images: list[Size]
    meta: Meta


@dataclass(frozen=True)
class FloatsAnswer:
    """Vectors as a list."""

    id: str
    response_type: Literal["embeddings_floats"]
    embeddings: list[list[float]]
    texts: list[str]
    images: list[Size]
    meta: Meta


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
        return [[picture(data, f"images {i}")] for i, data in enumerate(given.images)]
    return [content_of(x, f"inputs {i}") for i, x in enumerate(given.inputs or ())]


def router(service: Service) -> APIRouter:
    """Return the routes."""

    async def embedded(request: Request, given: EmbedRequest, version: str) -> dict[str, Any]:
        model = service.model(given.model)
        width, spec = given.output_dimension or model.dim, model.model.spec
        check_width(spec, width)
        inputs = parts_of(given)
        service.check_count(len(inputs))
        flat = [part for parts in inputs for part in parts]
        result = await service.embed(request, model, flat, cut=CUTS[given.truncate or "END"])
        vectors = at_width(joined(result.vectors, [len(parts) for parts in inputs]), spec, width)
        sizes = [s for s in result.sizes if s]
        plain = version == "1" and given.embedding_types is None
        return {
            "id": str(uuid.uuid4()),
            "response_type": "embeddings_floats" if plain else "embeddings_by_type",
            "embeddings": vectors.tolist() if plain else {
                kind: packed(vectors, kind) for kind in given.embedding_types or ["float"]
            },
            "texts": given.texts or [],
            "images": [
                {"width": w, "height": h, "format": "", "bit_depth": 24} for w, h in sizes
            ] if given.images else [],
            "meta": {"api_version": {"version": version}, "billed_units": {"input_tokens": 0}},
        }  # fmt: skip

    async def second(request: Request, given: EmbedRequest) -> dict[str, Any]:
        """Return embeddings of texts, pictures, or both."""
        return await embedded(request, given, "2")

    async def first(request: Request, given: EmbedRequest) -> dict[str, Any]:
        """Return embeddings of texts or pictures, as a list where no forms of the vectors are named."""
        return await embedded(request, given, "1")

    routes = APIRouter(tags=["Cohere"])
    routes.add_api_route("/v2/embed", second, methods=["POST"], responses={200: {"model": EmbedAnswer}})
    routes.add_api_route("/v1/embed", first, methods=["POST"], responses={200: {"model": EmbedAnswer | FloatsAnswer}})
    return routes
