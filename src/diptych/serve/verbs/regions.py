"""``POST /v1/segment`` and ``POST /v1/detect``: what lies where on a picture, and whether it is anomalous."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from PIL import Image

from diptych import catalog
from diptych.core.data import Evidence
from diptych.core.errors import UnreadableItem
from diptych.core.kit import Kit
from diptych.core.method import Detector, FittedDetector, FittedSegmenter, Segmenter
from diptych.data.memory import InMemory
from diptych.serve.answers import DetectAnswer, SegmentAnswer
from diptych.serve.model import ServedModel
from diptych.serve.names import Recent, class_names
from diptych.serve.refusals import Refusal, Strict
from diptych.serve.service import Service
from diptych.serve.verbs.classify import images_of
from diptych.tasks.classify import with_store
from diptych.tasks.defaults import SEGMENTER, WORD_DETECTOR
from diptych.tasks.detect import detector, scored, takes_thing
from diptych.tasks.pages.overlay import label_png
from diptych.tasks.question import Question, question
from diptych.tasks.segment import segmented
from diptych.tasks.segmented import Segmented

KEPT = 8
"""Fitted systems that are kept for the next request of the same names."""


@dataclass(frozen=True)
class SegmentRequest(Strict):
    """The body of a request for regions.

    Args:
        images: pictures, as data URIs or base64.
        labels: class names.
        model: name or alias of a served model.
        templates: prompts with one "{}" each; null: an ensemble of seven.
        method: slug of a segmenter that learns from names alone.
        background: words for all else, such as "sky", "wall".
        threshold: pixels below this probability are background.
        unknown: pixels below this probability are of no class.
        things: labels whose objects are counted.
        masks: whether to send the label maps, as PNG in base64.
    """

    images: list[str]
    labels: list[str]
    model: str = ""
    templates: list[str] | None = None
    method: str = SEGMENTER
    background: list[str] = field(default_factory=list)
    threshold: float | None = None
    unknown: float | None = None
    things: list[str] = field(default_factory=list)
    masks: bool = True


@dataclass(frozen=True)
class DetectRequest(Strict):
    """The body of a request for anomalies.

    Args:
        images: pictures, as data URIs or base64.
        thing: what they show, such as "hazelnut", for a detector that words are enough for.
        detector: name of a set of normal photos that the server was started with; instead of ``thing``.
        model: name or alias of a served model.
        method: slug of a detector for ``thing``.
    """

    images: list[str]
    thing: str = ""
    detector: str = ""
    model: str = ""
    method: str = WORD_DETECTOR


@dataclass(frozen=True)
class ServedDetector:
    """A detector that was fitted at the start.

    Args:
        threshold: a score above it is flagged; None: nothing is.
        clean: scores of normal photos that were kept aside; None: there are none.
    """

    fitted: FittedDetector
    threshold: float | None
    clean: Any
    model: ServedModel


class Regions:
    """Regions and anomalies of pictures.

    Args:
        detectors: name -> a detector that was fitted at the start.
    """

    def __init__(self, service: Service, detectors: Mapping[str, ServedDetector]) -> None:
        self.service, self.detectors = service, detectors
        self._segmenters: Recent[FittedSegmenter] = Recent(KEPT)
        self._word_detectors: Recent[FittedDetector] = Recent(KEPT)

    async def segment(self, request: Any, given: SegmentRequest) -> list[Segmented]:
        """Return the label map of each picture.

        Raises:
            Refusal: a system that learns from photos.
        """
        system = catalog.find(given.method, Segmenter)
        needs = system.card.needs
        if needs.evidence or set(needs.parts) - {"Backbone", "Dense"}:
            raise Refusal(400, f"{given.method} needs more than names: use {SEGMENTER}.")
        method = system()
        asked = question(
            class_names(given.labels, given.templates), method, background=given.background,
            threshold=given.threshold, unknown=given.unknown, things=given.things,
        )  # fmt: skip
        model, pictures = self.service.model(given.model), await self.service.pictures(images_of(given.images))
        return await self.service.call(
            request, f"segment/{given.method}", lambda: self._segmented(model, method, asked, pictures)
        )

    async def masks(
        self, request: Any, model: ServedModel, labels: Sequence[str], pictures: list[Image.Image]
    ) -> list[Segmented]:
        """Return the label map of each picture by the plain segmenter, from names alone."""
        method = catalog.find(SEGMENTER, Segmenter)()
        asked = question(class_names(labels, None), method)
        return await self.service.call(
            request, f"segment/{SEGMENTER}", lambda: self._segmented(model, method, asked, pictures)
        )

    def _segmented(
        self, model: ServedModel, method: Segmenter, asked: Question, pictures: list[Image.Image]
    ) -> list[Segmented]:
        key = (model.name, method.card.slug, asked.asked.names, asked.asked.templates, asked.asked.words)
        fitted = self._segmenters.made(
            key, lambda: method.fit(Kit.of(model.model), asked.asked, Evidence(), model.calls)
        )
        samples = InMemory(pictures, [f"images {i}" for i in range(len(pictures))])
        found = []
        for item in segmented(fitted, samples, asked, model.calls, confidence=True):
            if isinstance(item, UnreadableItem):
                raise item
            found.append(item)
        return found

    async def detect(self, request: Any, given: DetectRequest) -> dict[str, Any]:
        """Return the anomaly score of each picture.

        Raises:
            Refusal: neither words nor a detector, both, or a detector that is not served.
        """
        if bool(given.thing) == bool(given.detector):
            known = ", ".join(self.detectors) or "none"
            raise Refusal(400, f"Give either thing, such as 'hazelnut', or a detector of this server: {known}.")
        if given.detector and given.detector not in self.detectors:
            raise Refusal(404, f"The detector {given.detector[:80]!r} is not served.", "detector_not_found")
        system = catalog.find(given.method, Detector)
        if given.thing and ({"train", "auxiliary"} & set(system.card.needs.evidence) or not takes_thing(system)):
            raise Refusal(400, f"{given.method} needs photos: words are enough for {WORD_DETECTOR}.")
        model, pictures = self.service.model(given.model), await self.service.pictures(images_of(given.images))

        def work() -> dict[str, Any]:
            served = self.detectors.get(given.detector) or ServedDetector(
                self._by_words(model, given.method, given.thing), None, None, model
            )
            samples = InMemory(pictures, [f"images {i}" for i in range(len(pictures))])
            with with_store(served.model.calls) as run:
                found = scored(served.fitted, samples, run, served.threshold, served.clean)
            return {"photos": [item.as_dict() for item in found], "threshold": served.threshold}

        return await self.service.call(request, f"detect/{given.detector or given.method}", work)

    def _by_words(self, model: ServedModel, method: str, thing: str) -> FittedDetector:
        made = detector(method, "", thing)
        return self._word_detectors.made(
            (model.name, method, thing), lambda: made.fit(Kit.of(model.model), Evidence(), model.calls)
        )

    def router(self) -> APIRouter:
        """Return the routes."""

        async def segment(request: Request, given: SegmentRequest) -> dict[str, Any]:
            """Return label maps and the share of each label, as ``diptych segment`` writes them."""
            photos = []
            for item in await self.segment(request, given):
                facts = item.as_dict()
                if given.masks:
                    facts["mask"] = base64.b64encode(label_png(item.labels, item.colours())).decode()
                photos.append(facts)
            return {"photos": photos, "classnames": list(given.labels), "method": given.method}

        async def detect(request: Request, given: DetectRequest) -> dict[str, Any]:
            """Return anomaly scores, as ``diptych detect`` writes them."""
            return await self.detect(request, given)

        routes = APIRouter(tags=["diptych"])
        routes.add_api_route("/v1/segment", segment, methods=["POST"], responses={200: {"model": SegmentAnswer}})
        routes.add_api_route("/v1/detect", detect, methods=["POST"], responses={200: {"model": DetectAnswer}})
        return routes
