"""Hugging Face's tasks, for ``InferenceClient(model="http://127.0.0.1:7070")``.

The client sends every task to the address that it is given, so there the body says which one it is; ``/hf/TASK`` takes
one task alone, and ``/embed`` is the route of text-embeddings-inference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request

from diptych.serve.inputs import Input
from diptych.serve.names import class_names
from diptych.serve.refusals import Refusal
from diptych.serve.service import Service
from diptych.serve.uploads import picture_bytes
from diptych.serve.verbs.classify import Classify


@dataclass(frozen=True)
class TaskRequest:
    """The body of a task.

    Args:
        inputs: a picture as base64, or texts for features.
        parameters: "candidate_labels" and "hypothesis_template" of zero-shot classification.
    """

    inputs: str | list[str]
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelScore:
    """A label and its probability."""

    label: str
    score: float


def router(service: Service, classify: Classify) -> APIRouter:
    """Return the routes."""

    async def labels(request: Request, given: TaskRequest) -> list[dict[str, Any]]:
        """Return labels with their probabilities, the likeliest first."""
        names, template = given.parameters.get("candidate_labels"), given.parameters.get("hypothesis_template")
        if isinstance(names, str):
            names = names.split(",")
        if (
            not isinstance(given.inputs, str)
            or not isinstance(names, list)
            or not all(isinstance(n, str) for n in names)
        ):
            raise Refusal(400, "Give a picture as inputs, and parameters with a list candidate_labels.")
        classes = class_names(names, [str(template)] if template else None)
        inputs = [Input("image", picture_bytes(given.inputs, "inputs"), "inputs")]
        answers = await classify.zero_shot(request, service.first, inputs, classes, len(classes))
        return [{"label": label, "score": share} for label, share in answers.predictions[0].top]

    async def features(request: Request, given: TaskRequest) -> list[list[float]]:
        """Return a unit vector a text."""
        texts = [given.inputs] if isinstance(given.inputs, str) else given.inputs
        embedded = await service.embed(request, service.first, [Input("text", text) for text in texts])
        rows: list[list[float]] = embedded.vectors.tolist()
        return rows

    async def either(request: Request, given: TaskRequest) -> list[Any]:
        """Return labels where the parameters name some, else a unit vector a text."""
        return await (labels if "candidate_labels" in given.parameters else features)(request, given)

    routes = APIRouter(tags=["Hugging Face"])
    routes.add_api_route(
        "/", either, methods=["POST"], responses={200: {"model": list[LabelScore] | list[list[float]]}}
    )
    routes.add_api_route(
        "/hf/zero-shot-image-classification", labels, methods=["POST"], responses={200: {"model": list[LabelScore]}}
    )
    for path in ("/hf/feature-extraction", "/embed"):
        routes.add_api_route(path, features, methods=["POST"], responses={200: {"model": list[list[float]]}})
    return routes
