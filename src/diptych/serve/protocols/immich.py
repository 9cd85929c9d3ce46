"""Immich's machine learning: ``GET /ping``, and vectors of pictures and of searches by ``POST /predict``.

Immich accepts only names of its own list, so a model answers to one of the same width by an alias. Faces and texts in
pictures are refused with 422: Immich then asks the next server of its list for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from diptych.serve.inputs import Input
from diptych.serve.refusals import Refusal
from diptych.serve.service import Service


@dataclass(frozen=True)
class ClipAnswer:
    """A vector, as a JSON array inside a string, and the size of the picture in pixels."""

    clip: str
    imageHeight: int | None = None  # noqa: N815 - Immich's name
    imageWidth: int | None = None  # noqa: N815


async def predict(request: Any, service: Service, form: Mapping[str, Any]) -> dict[str, Any]:
    """Return the vector of a picture or a text, as a JSON array inside a string.

    Args:
        request: of Starlette.
        service: models and queue.
        form: "entries", and "image", a file, or "text".

    Raises:
        Refusal: other tasks than "clip", or neither picture nor text.
    """
    try:
        entries = json.loads(str(form.get("entries", "")))
        ((task, kinds),) = entries.items()
        ((kind, entry),) = kinds.items()
    except (ValueError, AttributeError):
        raise Refusal(422, 'entries is one task: {"clip": {"visual": {"modelName": "ViT-B-32__openai"}}}.') from None
    if task != "clip" or kind not in ("visual", "textual"):
        raise Refusal(422, f"{task}/{kind} is not answered here, only clip: list another server for it in Immich.")
    model = service.model(str(entry.get("modelName", "")) if isinstance(entry, dict) else "")
    text, image = form.get("text"), form.get("image")
    if kind == "textual":
        if not isinstance(text, str) or not text:
            raise Refusal(400, "clip/textual needs a text: send it as the field text.")
        embedded = await service.embed(request, model, [Input("text", text)])
        return {"clip": _text(embedded.vectors[0])}
    if image is None or isinstance(image, str):
        raise Refusal(400, "clip/visual needs a picture: send it as the file image.")
    embedded = await service.embed(request, model, [Input("image", await image.read(), "image")])
    width, height = embedded.sizes[0] or (0, 0)
    return {"clip": _text(embedded.vectors[0]), "imageHeight": height, "imageWidth": width}


def _text(vector: Any) -> str:
    return json.dumps(vector.tolist(), separators=(",", ":"))


def router(service: Service) -> APIRouter:
    """Return the routes; ``/predict`` is shared with Label Studio, see ``protocols.predict``."""

    async def ping() -> PlainTextResponse:
        """Say pong."""
        return PlainTextResponse("pong")

    routes = APIRouter(tags=["Immich"])
    routes.add_api_route("/ping", ping, methods=["GET"], response_class=PlainTextResponse)
    return routes
