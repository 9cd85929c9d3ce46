"""``POST /predict``: a form is Immich's, JSON is Label Studio's."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request
from starlette.formparsers import MultiPartException

from diptych.serve.protocols import immich
from diptych.serve.protocols.immich import ClipAnswer
from diptych.serve.protocols.label_studio import LabelStudio
from diptych.serve.protocols.label_studio_answers import PredictAnswer
from diptych.serve.refusals import Refusal
from diptych.serve.service import Service

FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


def router(service: Service, label_studio: LabelStudio) -> APIRouter:
    """Return the route."""

    async def predict(request: Request) -> dict[str, Any]:
        """Answer Immich (a form with entries) or Label Studio (JSON with tasks)."""
        if request.headers.get("content-type", "").startswith(FORMS):
            try:
                async with request.form(max_files=1, max_fields=8, max_part_size=service.settings.max_bytes) as form:
                    return await immich.predict(request, service, form)
            except MultiPartException as error:
                raise Refusal(400, f"The form cannot be read: {error.message}.") from None
        try:
            body = json.loads(await request.body())
        except (ValueError, RecursionError):
            raise Refusal(400, "The body is neither JSON nor a form.") from None
        if not isinstance(body, dict):
            raise Refusal(400, 'The body is not an object: send {"tasks": [...]}.')
        return await label_studio.predict(request, body)

    routes = APIRouter()
    routes.add_api_route(
        "/predict", predict, methods=["POST"], tags=["Label Studio", "Immich"],
        responses={200: {"model": PredictAnswer | ClipAnswer}},
    )  # fmt: skip
    return routes
