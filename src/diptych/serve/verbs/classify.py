"""``POST /v1/classify``: what is on each picture, from names alone or by a classifier that was exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from fastapi import APIRouter, Request
from PIL import Image
from torch.nn.functional import normalize

from diptych.core import ClassNames
from diptych.data.memory import InMemory
from diptych.features.heads import logits, sharpness
from diptych.serve.answers import ClassifyAnswer
from diptych.serve.inputs import Input
from diptych.serve.model import ServedModel
from diptych.serve.names import Heads, class_names
from diptych.serve.refusals import Refusal, Strict
from diptych.serve.service import Service
from diptych.serve.uploads import picture_bytes
from diptych.tasks.classified import Classified, Prediction, probabilities
from diptych.tasks.classify import classify, unlabelled
from diptych.tasks.classify_with_model import answer
from diptych.tasks.defaults import DEFAULTS
from diptych.tasks.model import Predictor
from diptych.tasks.space_classifier import SpaceClassifier


@dataclass(frozen=True)
class ClassifyRequest(Strict):
    """The body of a request for labels.

    Args:
        images: pictures, as data URIs or base64.
        labels: class names; leave them out with ``classifier``.
        classifier: name of a classifier that the server was started with.
        model: name or alias of a served model.
        templates: prompts with one "{}" each; null: an ensemble of seven.
        method: slug of a system that learns from names alone.
        top: labels a picture.
        threshold: leave out labels below this probability.
        reasons: reasons a picture, from systems that have some.
        sets: with ``classifier``: sets of labels that hold the true one in this share of pictures, such as 0.9.
        per_class: with ``sets``: the share holds within each class that allows it.
        unknown_rate: with ``classifier``: call pictures unknown, wrongly at most in this share.
    """

    images: list[str]
    labels: list[str] | None = None
    classifier: str = ""
    model: str = ""
    templates: list[str] | None = None
    method: str = DEFAULTS["classify"]
    top: int = 5
    threshold: float | None = None
    reasons: int = 0
    sets: float | None = None
    per_class: bool = False
    unknown_rate: float | None = None


def images_of(images: Sequence[str]) -> list[Input]:
    """Return the pictures of a request.

    Raises:
        Refusal: one is a URL, or no base64.
    """
    return [Input("image", picture_bytes(data, f"images {i}"), f"images {i}") for i, data in enumerate(images)]


class Classify:
    """Labels of pictures.

    Args:
        classifiers: name -> a classifier that was exported.
    """

    def __init__(self, service: Service, classifiers: Mapping[str, Predictor]) -> None:
        self.service, self.classifiers, self.heads = service, classifiers, Heads(service)

    async def zero_shot(
        self, request: Any, model: ServedModel, inputs: Sequence[Input], classes: ClassNames, top: int = 5,
        threshold: float | None = None,
    ) -> Classified:  # fmt: skip
        """Return the predictions of zero-shot CLIP; pictures of several requests share batches."""
        head = await self.heads.head(request, model, classes)
        found = await self.service.embed(request, model, inputs)
        unit = normalize(torch.from_numpy(found.values), dim=-1)
        values = logits(model.model, unit, head)
        factors = sharpness(model.model, unit, values)
        rows = probabilities(values.numpy(), model.model.score, None if factors is None else factors.numpy())
        order = values.argsort(dim=1, descending=True, stable=True)[:, :top].numpy()
        predictions = tuple(
            Prediction(
                item.name,
                tuple((classes.names[k], float(row[k])) for k in best if threshold is None or row[k] >= threshold),
            )
            for item, row, best in zip(inputs, rows, order, strict=True)
        )
        return Classified(
            predictions, (), classes, model.model.spec.name, DEFAULTS["classify"], model.model.score, threshold
        )

    async def by_system(
        self, request: Any, model: ServedModel, pictures: Sequence[Image.Image], given: ClassifyRequest
    ) -> Classified:
        """Return the predictions of a system that learns from names alone."""
        system = unlabelled(given.method)
        names = class_names(given.labels or [], given.templates)
        samples = InMemory(pictures, [f"images {i}" for i in range(len(pictures))])
        return await self.service.call(
            request, f"classify/{given.method}",
            lambda: classify(
                samples, names, model.model, model.calls, method=system, top=given.top,
                threshold=given.threshold, reasons=given.reasons,
            ),
        )  # fmt: skip

    async def by_classifier(
        self, request: Any, inputs: Sequence[Input], given: ClassifyRequest, name: str
    ) -> Classified:
        """Return the predictions of an exported classifier, or of a fitted space with its classes.

        Raises:
            Refusal: the server has no classifier of this name.
        """
        predictor = self.classifiers.get(name)
        if predictor is None:
            known = ", ".join(self.classifiers) or "none"
            raise Refusal(404, f"The classifier {name[:80]!r} is not served: there is {known}.", "classifier_not_found")
        kind = predictor.fitted.modality if isinstance(predictor.fitted, SpaceClassifier) else None
        samples = await self.service.samples(inputs, kind)
        return await self.service.call(
            request, f"classify/{name}",
            lambda: answer(
                samples, predictor, predictor.run, top=given.top, threshold=given.threshold, sets=given.sets,
                per_class=given.per_class, unknown_rate=given.unknown_rate, reasons=given.reasons, name=name,
            ),
        )  # fmt: skip

    async def answer(self, request: Any, given: ClassifyRequest) -> Classified:
        """Answer a request.

        Raises:
            Refusal: labels with a classifier, neither, or promises without a classifier.
        """
        inputs = images_of(given.images)
        if given.top < 1:
            raise Refusal(400, f"top must be at least 1, got {given.top}.")
        if given.threshold is not None and not 0 <= given.threshold <= 1:
            raise Refusal(400, f"threshold must be in [0, 1], got {given.threshold:g}: it is a probability.")
        if bool(given.labels) == bool(given.classifier):
            raise Refusal(400, "Give either labels or the name of a classifier.")
        if given.classifier:
            return await self.by_classifier(request, inputs, given, given.classifier)
        if given.sets is not None or given.unknown_rate is not None or given.per_class:
            raise Refusal(
                400,
                "sets, per_class and unknown_rate need a calibrated classifier: start the server with --classifier.",
            )
        model = self.service.model(given.model)
        if given.method == DEFAULTS["classify"] and not given.reasons:
            classes = class_names(given.labels or [], given.templates)
            return await self.zero_shot(request, model, inputs, classes, given.top, given.threshold)
        return await self.by_system(request, model, await self.service.pictures(inputs), given)

    def router(self) -> APIRouter:
        """Return the routes."""

        async def post(request: Request, given: ClassifyRequest) -> dict[str, Any]:
            """Return labels with their probabilities, as ``diptych classify --json`` prints them."""
            return (await self.answer(request, given)).as_dict()

        routes = APIRouter(tags=["diptych"])
        routes.add_api_route("/v1/classify", post, methods=["POST"], responses={200: {"model": ClassifyAnswer}})
        return routes
