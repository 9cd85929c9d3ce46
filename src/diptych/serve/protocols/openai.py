"""OpenAI's ``POST /v1/embeddings`` and ``GET /v1/models``, with pictures as infinity, Jina and vLLM take them.

    {"model": "lite", "input": "a cat"}                                   one text, or a list
    {"model": "lite", "input": ["data:image/jpeg;base64,..."]}            pictures, as data URIs
    {"model": "lite", "modality": "image", "input": ["/9j/4AAQ..."]}      pictures, as plain base64
    {"model": "lite", "input": [{"text": "a cat"}, {"image": "/9j/..."}]} both
    {"model": "lite", "messages": [{"role": "user", "content": [...]}]}   one vector of a message's texts and pictures

OpenAI's client asks for ``encoding_format`` "base64" where its caller names none: little-endian float32. infinity's
client asks without the prefix ``/v1``, and sends ``dimensions`` 0. Azure's clients ask ``AZURE``.
"""

from __future__ import annotations

import base64
import time
import uuid
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from diptych import __version__
from diptych.backbones.widths import at_width, check_width
from diptych.serve.inputs import Input
from diptych.serve.numbers import Integer
from diptych.serve.protocols.content import content_of, joined, part_of, picture
from diptych.serve.refusals import Refusal
from diptych.serve.service import Service
from diptych.serve.uploads import is_picture

TOKENS = (
    "The input holds token ids, which only the tokenizer that made them reads: send texts (in LangChain, "
    "OpenAIEmbeddings(check_embedding_ctx_length=False))."
)
AZURE = ("/openai/v1", "/openai/deployments/{deployment}")
"""What stands before ``/embeddings`` where Azure's clients ask, new ones and those that name a deployment."""


@dataclass(frozen=True)
class EmbeddingsRequest:
    """The body of a request for embeddings.

    Args:
        input: a text, a data URI, an object with "text", "image" or "bytes", a part of a message with "image_url", or
            a list of these.
        messages: in its place, as vLLM takes them: objects with "content", a text or a list of {"type": "text", "text":
            ...} and {"type": "image_url", "image_url": {"url": "data:..."}}; all of them have one vector, that of the
            sum of the parts' unit vectors.
        model: name or alias of a served model; "" is the first.
        encoding_format: "float" for lists of numbers, "base64" for little-endian float32.
        modality: "auto" takes data URIs and the base64 of JPEG, PNG, GIF and WebP files as pictures, and refuses
            addresses of pictures; "text" and "image" take every string as such.
        dimensions: the width of the model, or of ``lite`` the first 1 to 512 numbers of its rotation; 0: not given.
        user: not read.
    """

    input: Any = None
    messages: list[dict[str, Any]] | None = None
    model: str = ""
    encoding_format: Literal["float", "base64"] = "float"
    modality: Literal["auto", "text", "image"] = "auto"
    dimensions: Integer | None = None
    user: str | None = None


@dataclass(frozen=True)
class Embedding:
    """A vector: numbers, or little-endian float32 in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


@dataclass(frozen=True)
class Usage:
    """Numbers of tokens, which are 0: nothing is metered here."""

    prompt_tokens: int
    total_tokens: int


@dataclass(frozen=True)
class EmbeddingsAnswer:
    """Vectors in the order of the inputs."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage
    id: str
    created: int


@dataclass(frozen=True)
class ModelFacts:
    """A model; "merges" says for pictures and texts whether requests share batches, "stats", which infinity's client
    reads, how many inputs wait for any model.
    """

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    dimensions: int
    backbone: str
    licence: str
    fingerprint: str
    precision: str
    version: str
    merges: dict[str, str]
    stats: dict[str, int]


@dataclass(frozen=True)
class ModelsAnswer:
    """The models and their aliases."""

    object: Literal["list"]
    data: list[ModelFacts]


def inputs_of(given: Any, modality: str) -> list[Input]:
    """Return the inputs of a request.

    Raises:
        Refusal: token ids, URLs, or something that is neither text nor picture.
    """
    listed = given if isinstance(given, list) else [given]
    if any(isinstance(x, int) or (isinstance(x, list) and x and isinstance(x[0], int)) for x in listed):
        raise Refusal(400, TOKENS, "token_ids")
    return [input_of(x, modality, f"input {i}") for i, x in enumerate(listed)]


def input_of(x: Any, modality: str, name: str) -> Input:
    """Return a text or a picture.

    Raises:
        Refusal: it is neither.
    """
    if isinstance(x, dict) and x.get("type") == "image_url":
        return part_of(x, name)
    if isinstance(x, dict):
        key = next((k for k in ("text", "image", "bytes") if isinstance(x.get(k), str)), None)
        if key is None:
            raise Refusal(400, f"{name} has {', '.join(map(str, x))[:80]}: give an object with text or image.")
        x, modality = x[key], "text" if key == "text" else "image"
    if not isinstance(x, str) or not x:
        raise Refusal(
            400, f"{name} is neither a text nor a picture, but {str(x)[:40]!r}: send a string that is not empty."
        )
    if modality == "image" or (modality == "auto" and is_picture(x)):
        return picture(x, name)
    return Input("text", x)


def groups_of(given: EmbeddingsRequest) -> list[list[Input]]:
    """Return the parts of each input; all messages together are one.

    Raises:
        Refusal: neither input nor messages, or both.
    """
    if (given.input is None) == (given.messages is None):
        raise Refusal(400, "Give either input or messages: a text, a data URI, or a list of them as input.")
    if given.messages is not None:
        return [[part for i, message in enumerate(given.messages) for part in content_of(message, f"messages {i}")]]
    return [[item] for item in inputs_of(given.input, given.modality)]


def router(service: Service) -> APIRouter:
    """Return the routes."""

    async def embeddings(request: Request, given: EmbeddingsRequest) -> JSONResponse:
        """Return an embedding a text or picture."""
        model = service.model(given.model or request.path_params.get("deployment"))
        width, spec = given.dimensions or model.dim, model.model.spec
        check_width(spec, width)
        groups = groups_of(given)
        result = await service.embed(request, model, [part for parts in groups for part in parts])
        vectors = at_width(joined(result.vectors, [len(parts) for parts in groups]), spec, width)
        packed = given.encoding_format == "base64"
        rows = [
            {
                "object": "embedding",
                "index": i,
                "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode() if packed else row.tolist(),
            }
            for i, row in enumerate(vectors)
        ]
        usage = {"prompt_tokens": 0, "total_tokens": 0}
        return JSONResponse(
            {"object": "list", "data": rows, "model": given.model or model.name, "usage": usage,
             "id": f"embd-{uuid.uuid4().hex}", "created": int(time.time())}
        )  # fmt: skip

    def described(name: str) -> dict[str, Any]:
        model = service.model(name)
        spec = model.model.spec
        return {
            "id": name, "object": "model", "created": 0, "owned_by": "diptych", "dimensions": model.dim,
            "backbone": spec.name, "licence": spec.licence, "fingerprint": model.model.fingerprint,
            "precision": model.run.precision, "version": __version__,
            "merges": model.sharing, "stats": {"queue_absolute": service.batcher.waiting},
        }  # fmt: skip

    async def models(request: Request) -> dict[str, Any]:
        """List the models and their aliases."""
        data = [described(n) for n in (*service.models, *service.settings.aliases)]
        if request.url.path == "/models":  # infinity's client asks there, and takes no other owner
            data = [{**facts, "owned_by": "infinity"} for facts in data]
        return {"object": "list", "data": data}

    async def model(name: str) -> dict[str, Any]:
        """Describe one model."""
        return described(name)

    routes = APIRouter(tags=["OpenAI"])
    for prefix in ("/v1", "", *AZURE):  # the same routes under several names are described once
        routes.add_api_route(
            f"{prefix}/embeddings", embeddings, methods=["POST"], include_in_schema=prefix == "/v1",
            responses={200: {"model": EmbeddingsAnswer}},
        )  # fmt: skip
    for prefix in ("/v1", "", AZURE[0]):
        routes.add_api_route(
            f"{prefix}/models", models, methods=["GET"], include_in_schema=prefix == "/v1",
            responses={200: {"model": ModelsAnswer}},
        )  # fmt: skip
    routes.add_api_route("/v1/models/{name:path}", model, methods=["GET"], responses={200: {"model": ModelFacts}})
    return routes
