"""Label maps for the protocols of other programs, from names alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from diptych import catalog
from diptych.core import Evidence, FittedSegmenter, Kit, Segmenter, UnreadableItem
from diptych.data.memory import InMemory
from diptych.serve.declared import FITTED
from diptych.serve.model import ServedModel
from diptych.serve.names import Recent, class_names
from diptych.serve.service import Service
from diptych.tasks.defaults import DEFAULTS
from diptych.tasks.label_maps.question import Question, question
from diptych.tasks.label_maps.segmented import BACKGROUND, Segmented
from diptych.tasks.segment import segmented

ELSE = ("sky", "wall", "floor", "ground", "grass", "road", "water", "tree", "building", "table")
"""Words for what is not boxed: without them every pixel would be of one of the labels."""


class Regions:
    """Label maps of pictures, by the plain segmenter."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._segmenters: Recent[FittedSegmenter] = Recent(FITTED)

    async def maps(
        self, request: Any, model: ServedModel, labels: Sequence[str], pictures: list[Image.Image], *,
        counted: bool = False,
    ) -> list[Segmented]:  # fmt: skip
        """Return the label map of each picture by the plain segmenter, from names alone.

        Args:
            request: whose client may go.
            model: the model.
            labels: class names.
            pictures: the pictures.
            counted: whether the parts of each label are counted; what no label names is background then.
        """
        method = catalog.find(DEFAULTS["segment"], Segmenter)()
        taken = {label.casefold().strip() for label in labels}
        background = [word for word in ELSE if word not in taken] if counted and BACKGROUND not in taken else []
        things = list(labels) if counted else []
        query = question(class_names(labels, None), method, background=background, things=things)
        return await self.service.call(
            request, f"segment/{DEFAULTS['segment']}", lambda: self._segmented(model, method, query, pictures)
        )

    def _segmented(
        self, model: ServedModel, method: Segmenter, query: Question, pictures: list[Image.Image]
    ) -> list[Segmented]:
        key = (
            model.name,
            method.card.slug,
            query.fit_classes.names,
            query.fit_classes.templates,
            query.fit_classes.words,
        )
        fitted = self._segmenters.get_or_make(
            key, lambda: method.fit(Kit.of(model.model), query.fit_classes, Evidence(), model.calls)
        )
        samples = InMemory(pictures, [f"images {i}" for i in range(len(pictures))])
        maps = []
        for item in segmented(fitted, samples, query, model.calls, confidence=True):
            if isinstance(item, UnreadableItem):
                raise item
            maps.append(item)
        return maps
