"""Hugging Face's tasks, for ``InferenceClient(model="http://127.0.0.1:7070")``.

The client sends every task to the address that it is given, so there the body says which one it is; ``/hf/TASK`` takes
one task alone, and ``/embed`` is the route of text-embeddings-inference. A picture without parameters comes as the body
itself, often without a content type.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from numpy.typing import NDArray
from PIL import Image

from diptych.serve.declared import Declared
from diptych.serve.inputs import Input
from diptych.serve.model import Cut
from diptych.serve.names import class_names
from diptych.serve.refusals import Refusal
from diptych.serve.service import Service
from diptych.serve.uploads import is_picture, picture_bytes
from diptych.serve.verbs.classify import Classify


@dataclass(frozen=True)
class TaskRequest:
    """The body of a task.

    Args:
        inputs: a picture as base64, or texts for features.
        parameters: "candidate_labels" and "hypothesis_template" of zero-shot classification; "top_k" of classification,
            5 where it is left out.
        truncate: of features, whether texts that are longer than the model reads are cut; null: as the server is set.
        truncation_direction: which end of a long text is left out, "left" or "right", in any case.
    """

    inputs: str | list[str]
    parameters: dict[str, Any] = field(default_factory=dict)
    truncate: bool | None = None
    truncation_direction: str | None = None


@dataclass(frozen=True)
class LabelScore:
    """A label and its probability."""

    label: str
    score: float


@dataclass(frozen=True)
class LabelMask:
    """A label and the mask of its pixels, a PNG in base64 that is white there."""

    label: str
    mask: str


def cut_of(given: TaskRequest) -> Cut | None:
    """Return which end of a long text is left out; None: as the server is set.

    Raises:
        Refusal: the direction is neither left nor right.
    """
    side = (given.truncation_direction or "right").lower()
    if side not in ("left", "right"):
        raise Refusal(400, f'truncation_direction is "left" or "right", not {side[:40]!r}.')
    if given.truncate is None:
        return None
    return ("start" if side == "left" else "end") if given.truncate else ""


class PictureRoute(APIRoute):  # type: ignore[misc]  # FastAPI is untyped here
    """A route that also takes the bytes of a picture as its body."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """Return what answers a request."""
        answer = super().get_route_handler()

        async def handle(request: Request) -> Any:
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            unnamed = kind in ("", "application/octet-stream")
            data = await request.body() if unnamed or kind.startswith("image/") else b""
            if kind.startswith("image/") or (data and not data.lstrip().startswith((b"{", b"["))):
                others = [(name, value) for name, value in request.scope["headers"] if name != b"content-type"]
                scope = {**request.scope, "headers": [*others, (b"content-type", b"application/json")]}
                request = Request(scope, request.receive)
                request._body = json.dumps({"inputs": f"data:;base64,{base64.b64encode(data).decode()}"}).encode()
            return await answer(request)

        return handle


def router(service: Service, classify: Classify, segment: Declared, segmenters: Sequence[str]) -> APIRouter:
    """Return the routes.

    Args:
        service: models and queue.
        classify: answers pictures with names, and by the served classifiers, the first of which classifies.
        segment: answers by the served segmenters.
        segmenters: their names, the first of which segments.
    """

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
        embedded = await service.embed(
            request, service.first, [Input("text", text) for text in texts], cut=cut_of(given)
        )
        rows: list[list[float]] = embedded.vectors.tolist()
        return rows

    async def classes(request: Request, given: TaskRequest) -> list[dict[str, Any]]:
        """Return the classes of the first served classifier with their probabilities, the likeliest first."""
        top = given.parameters.get("top_k", 5)
        if not isinstance(given.inputs, str) or type(top) is not int or top < 1:
            raise Refusal(400, "Give a picture as inputs, and as top_k, if at all, a whole number of at least 1.")
        if not classify.classifiers:
            raise Refusal(
                404,
                "Classes of pictures need a classifier, and none is served: start the server with --classifier FOLDER, "
                "or ask for zero-shot-image-classification with candidate_labels.",
                "classifier_not_found",
            )
        inputs = [Input("image", picture_bytes(given.inputs, "inputs"), "inputs")]
        result = await classify.by_classifier(request, inputs, next(iter(classify.classifiers)), top=top)
        return [{"label": label, "score": share} for label, share in result.predictions[0].top]

    async def masks(request: Request, given: TaskRequest) -> list[dict[str, Any]]:
        """Return a mask of each label that the first served segmenter sees."""
        if not isinstance(given.inputs, str):
            raise Refusal(400, "Give a picture as inputs.")
        if not segmenters:
            raise Refusal(
                404,
                "Masks need a segmenter, and none is served: start the server with --fitted FOLDER, or ask /v1/segment "
                "with labels.",
                "segmenter_not_found",
            )
        answer = await segment.answer(request, segment.body(images=[given.inputs], segmenter=segmenters[0]))
        photo = answer["photos"][0]
        values = np.asarray(Image.open(io.BytesIO(base64.b64decode(photo["mask"]))))
        return [{"label": a["label"], "mask": _mask(values == a["value"])} for a in photo["areas"]]

    async def either(request: Request, given: TaskRequest) -> list[Any]:
        """Return labels where the parameters name some; of a picture alone the classes of a served classifier, or the
        masks of a served segmenter; else a unit vector a text.
        """
        if "candidate_labels" in given.parameters:
            return await labels(request, given)
        if isinstance(given.inputs, str) and (is_picture(given.inputs) or "top_k" in given.parameters):
            return await (masks if segmenters and not classify.classifiers else classes)(request, given)
        return await features(request, given)

    routes = APIRouter(tags=["Hugging Face"], route_class=PictureRoute)
    every = list[LabelScore] | list[LabelMask] | list[list[float]]
    routes.add_api_route("/", either, methods=["POST"], responses={200: {"model": every}})
    routes.add_api_route(
        "/hf/image-classification", classes, methods=["POST"], responses={200: {"model": list[LabelScore]}}
    )
    routes.add_api_route("/hf/image-segmentation", masks, methods=["POST"], responses={200: {"model": list[LabelMask]}})
    routes.add_api_route(
        "/hf/zero-shot-image-classification", labels, methods=["POST"], responses={200: {"model": list[LabelScore]}}
    )
    for path in ("/hf/feature-extraction", "/embed"):
        routes.add_api_route(path, features, methods=["POST"], responses={200: {"model": list[list[float]]}})
    return routes


def _mask(where: NDArray[np.bool_]) -> str:
    file = io.BytesIO()
    Image.fromarray(where).convert("L").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
