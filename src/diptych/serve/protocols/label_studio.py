"""Label Studio's ML backend: ``/setup``, ``/predict`` and ``/webhook``.

The labels are those of the project's XML, so nothing is set up. ``<Choices>`` get labels from names alone; what people
annotate joins them, with Tip-Adapter's affinity (``nn.cache_model``), which trains nothing. A project whose choices are
the classes of a served classifier gets its calibrated answers, and no answer where it says unknown. ``<BrushLabels>``
get the masks of a segmenter, and ``<RectangleLabels>`` the boxes round the parts of its label map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from numpy.typing import NDArray
from torch.nn.functional import normalize

from diptych import __version__
from diptych.features.heads import logits, sharpness
from diptych.nn.cache_model import cache_logits
from diptych.serve.fetch import fetched
from diptych.serve.inputs import Input
from diptych.serve.names import Recent, class_names
from diptych.serve.protocols.label_config import Control, brush_runs, chosen, controls_of
from diptych.serve.protocols.label_studio_answers import SetupAnswer, WebhookAnswer
from diptych.serve.refusals import Refusal
from diptych.serve.service import Service
from diptych.serve.uploads import picture_bytes
from diptych.serve.verbs.classify import Classify
from diptych.serve.verbs.regions import Regions
from diptych.tasks.classified import probabilities

UNKNOWN_RATE = 0.05
"""Of a served classifier: share of pictures of known classes that may get no answer."""
ALPHA, BETA = 1.17, 5.5
"""Weight and sharpness of the annotations, Tip-Adapter's published values for CLIP."""
LEAST = 0.5
"""Mean probability of the pixels of a part of a label map that gets a box."""
MOST, PROJECTS = 10_000, 64
"""Annotated pictures of a control that are kept, the newest; and controls that were used last."""


@dataclass
class Shots:
    """Annotated pictures of one control of one project.

    Args:
        rows: task id -> (unit vector, position of its label).
    """

    rows: dict[str, tuple[NDArray[np.float32], int]] = field(default_factory=dict)


class LabelStudio:
    """Answers of the ML backend."""

    def __init__(self, service: Service, classify: Classify, regions: Regions) -> None:
        self.service, self.classify, self.regions = service, classify, regions
        self._shots: Recent[Shots] = Recent(PROJECTS)

    async def predict(self, request: Any, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a prediction a task.

        Raises:
            Refusal: no tasks, no usable XML, or a picture that cannot be read.
        """
        tasks, controls = body.get("tasks"), controls_of(str(body.get("label_config") or ""))
        if not isinstance(tasks, list) or not all(
            isinstance(t, dict) and isinstance(t.get("data"), dict) for t in tasks
        ):
            raise Refusal(400, 'A request has tasks: {"tasks": [{"id": 1, "data": {"image": "..."}}]}.')
        self.service.check_count(len(tasks))
        project = str(body.get("project", "")).partition(".")[0]  # of "1.1700000000"
        results: list[list[dict[str, Any]]] = [[] for _ in tasks]
        for control in controls:
            inputs = [await self._picture(task["data"], control, i) for i, task in enumerate(tasks)]
            answers = {"choices": self._choices, "brushlabels": self._brushes, "rectanglelabels": self._rectangles}
            answer = answers[control.kind]
            for result, more in zip(results, await answer(request, project, control, inputs), strict=True):
                result += more
        version = f"diptych {__version__} {self.service.first.name}"
        return {
            "results": [
                {"model_version": version, "result": result, "score": min((r["score"] for r in result), default=0.0)}
                for result in results
            ]
        }

    async def _picture(self, data: Mapping[str, Any], control: Control, number: int) -> Input:
        address, name = data.get(control.column), f"task {number}"
        if not isinstance(address, str) or not address:
            raise Refusal(400, f'{name} has no picture in {control.column!r}: the XML says value="${control.column}".')
        if address.startswith("data:"):
            return Input("image", picture_bytes(address, name), name)
        return Input("image", await self.service.thread(fetched, address, name, self.service.settings), name)

    async def _choices(
        self, request: Any, project: str, control: Control, inputs: Sequence[Input]
    ) -> list[list[dict[str, Any]]]:
        name = next((n for n, p in self.classify.classifiers.items() if p.classes.names == control.words), "")
        if name:
            answers = await self.classify.by_classifier(request, inputs, name, top=1, unknown_rate=UNKNOWN_RATE)
            return [
                [] if p.unknown else [_choice(control, [control.words.index(p.top[0][0])], p.top[0][1])]
                for p in answers.predictions
            ]
        rows = await self._probabilities(request, project, control, inputs)
        best = [np.flatnonzero(row > 0.5).tolist() if control.several else [int(row.argmax())] for row in rows]
        return [[_choice(control, ks, float(min(row[ks])))] if ks else [] for row, ks in zip(rows, best, strict=True)]

    async def _probabilities(
        self, request: Any, project: str, control: Control, inputs: Sequence[Input]
    ) -> NDArray[np.float32]:
        """Return (N, K) probabilities from names, and from what was annotated."""
        model = self.service.first
        head = await self.classify.heads.head(request, model, class_names(control.words, None))
        embedded = await self.service.embed(request, model, inputs)
        z = normalize(torch.from_numpy(embedded.values), dim=-1)
        values = logits(model.model, z, head)
        factors = sharpness(model.model, z, values)
        shots = self._shots.get((project, control.name, control.values))
        if shots and shots.rows:
            keys = torch.from_numpy(np.stack([vector for vector, _ in shots.rows.values()]))
            labels = torch.tensor([label for _, label in shots.rows.values()])
            values, factors = values + ALPHA * cache_logits(z, keys, labels, len(control.values), BETA), None
        return probabilities(values.numpy(), model.model.activation, None if factors is None else factors.numpy())

    async def _brushes(
        self, request: Any, project: str, control: Control, inputs: Sequence[Input]
    ) -> list[list[dict[str, Any]]]:
        words, pictures = list(control.words), await self.service.pictures(inputs)
        masks = await self.regions.maps(request, self.service.first, words, pictures)
        results = []
        for item in masks:
            brushes = []
            for k in item.areas():
                mask = item.labels == k
                score = 0.0 if item.confidence is None else float(item.confidence[mask].mean())
                value = {
                    "format": "rle", "rle": brush_runs(mask),
                    "brushlabels": [control.values[words.index(item.classes[k])]],
                }  # fmt: skip
                brushes.append(
                    {"from_name": control.name, "to_name": control.to, "type": "brushlabels", "value": value,
                     "score": score, "original_width": item.image.width, "original_height": item.image.height,
                     "image_rotation": 0}
                )  # fmt: skip
            results.append(brushes)
        return results

    async def _rectangles(
        self, request: Any, project: str, control: Control, inputs: Sequence[Input]
    ) -> list[list[dict[str, Any]]]:
        words, pictures = list(control.words), await self.service.pictures(inputs)
        maps = await self.regions.maps(request, self.service.first, words, pictures, counted=True)
        rows: list[list[dict[str, Any]]] = []
        for item in maps:
            width, height = item.image.size
            parts = [] if item.panoptic is None else [s for s in item.panoptic.segments if s.thing and s.score >= LEAST]
            rows.append([
                {"from_name": control.name, "to_name": control.to, "type": "rectanglelabels",
                 "value": {
                     **_percent(s.box, width, height), "rotation": 0,
                     "rectanglelabels": [control.values[words.index(item.classes[s.label])]],
                 },
                 "score": s.score, "original_width": width, "original_height": height, "image_rotation": 0}
                for s in parts
            ])  # fmt: skip
        return rows

    async def webhook(self, request: Any, body: Mapping[str, Any]) -> dict[str, Any]:
        """Learn from an annotation, or forget it; other events change nothing."""
        project, task, annotation = (body.get(name) or {} for name in ("project", "task", "annotation"))
        data = task.get("data") or {} if isinstance(task, dict) else {}
        if not all(isinstance(part, dict) for part in (project, task, annotation, data)):
            raise Refusal(400, "An event has the objects project, task (with its data) and annotation.")
        action = str(body.get("action", ""))
        config, number = project.get("label_config"), str(task.get("id", annotation.get("task", "")))
        if not action.startswith("ANNOTATION_") or not config or not number:
            return {"result": {"learnt": False}, "status": "ok"}
        learnt = False
        for control in controls_of(str(config)):
            if control.kind != "choices":
                continue
            shots = self._shots.get_or_make((str(project.get("id", "")), control.name, control.values), Shots)
            shots.rows.pop(number, None)
            labels = chosen(annotation.get("result"), control)
            if action not in ("ANNOTATION_CREATED", "ANNOTATION_UPDATED") or len(labels) != 1:
                continue
            picture = await self._picture(data, control, 0)
            embedded = await self.service.embed(request, self.service.first, [picture])
            shots.rows[number] = (embedded.vectors[0], control.values.index(labels[0]))
            while len(shots.rows) > MOST:
                del shots.rows[next(iter(shots.rows))]
            learnt = True
        return {"result": {"learnt": learnt}, "status": "ok"}

    def router(self) -> APIRouter:
        """Return the routes; ``/predict`` is shared with Immich, see ``protocols.predict``."""

        async def setup(given: dict[str, Any]) -> dict[str, str]:
            """Check the labelling interface of a project."""
            if given.get("schema"):
                controls_of(str(given["schema"]))
            return {"model_version": f"diptych {__version__} {self.service.first.name}"}

        async def webhook(request: Request, given: dict[str, Any]) -> JSONResponse:
            """Learn from an annotation."""
            return JSONResponse(await self.webhook(request, given), 201)

        routes = APIRouter(tags=["Label Studio"])
        routes.add_api_route("/setup", setup, methods=["POST"], responses={200: {"model": SetupAnswer}})
        routes.add_api_route(
            "/webhook", webhook, methods=["POST"], status_code=201, responses={201: {"model": WebhookAnswer}}
        )
        return routes


def _choice(control: Control, positions: Sequence[int], score: float) -> dict[str, Any]:
    value = {"choices": [control.values[k] for k in positions]}
    return {"from_name": control.name, "to_name": control.to, "type": "choices", "value": value, "score": score}


def _percent(box: tuple[int, int, int, int], width: int, height: int) -> dict[str, float]:
    """Return a box of left, top, width and height in pixels as Label Studio's, in percent of the picture."""
    left, top, wide, high = box
    return {
        "x": 100 * left / width, "y": 100 * top / height, "width": 100 * wide / width, "height": 100 * high / height,
    }  # fmt: skip
