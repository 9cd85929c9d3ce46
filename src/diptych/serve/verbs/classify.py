"""``POST /v1/classify``: what is on each picture, from names alone or by a classifier that was exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.nn.functional import normalize

from diptych.core import ClassNames, Samples
from diptych.data.memory import InMemory
from diptych.data.words.classnames import with_words
from diptych.features.heads import logits, sharpness
from diptych.serve.answers import ClassifyAnswer
from diptych.serve.declared import Declared, RequestContext
from diptych.serve.inputs import Input
from diptych.serve.model import ServedModel
from diptych.serve.names import Heads, class_names
from diptych.serve.refusals import Refusal
from diptych.serve.service import Service
from diptych.tasks.classified import Classified, Prediction, probabilities
from diptych.tasks.classify_samples import Source
from diptych.tasks.defaults import DEFAULTS
from diptych.tasks.model import Predictor
from diptych.tasks.space_classifier import SpaceClassifier
from diptych.verbs import classify
from diptych.verbs.predictions import Labels


class Classify(Declared):
    """Labels of pictures.

    Args:
        classifiers: name -> a classifier that was exported.
    """

    def __init__(self, service: Service, classifiers: Mapping[str, Predictor]) -> None:
        super().__init__(service, classify.Classify, ClassifyAnswer, {"classifier": classifiers})
        self.classifiers, self.heads = classifiers, Heads(service)

    async def zero_shot(
        self, request: Any, model: ServedModel, inputs: Sequence[Input], classes: ClassNames, top: int = 5,
        threshold: float | None = None,
    ) -> Classified:  # fmt: skip
        """Return the predictions of zero-shot CLIP; pictures of several requests share batches."""
        head = await self.heads.head(request, model, classes)
        embedded = await self.service.embed(request, model, inputs)
        unit = normalize(torch.from_numpy(embedded.values), dim=-1)
        values = logits(model.model, unit, head)
        factors = sharpness(model.model, unit, values)
        rows = probabilities(values.numpy(), model.model.activation, None if factors is None else factors.numpy())
        order = values.argsort(dim=1, descending=True, stable=True)[:, :top].numpy()
        predictions = tuple(
            Prediction(
                item.name,
                tuple((classes.names[k], float(row[k])) for k in best if threshold is None or row[k] >= threshold),
            )
            for item, row, best in zip(inputs, rows, order, strict=True)
        )
        return Classified(
            predictions, (), classes, model.model.spec.name, DEFAULTS["classify"], model.model.activation, threshold,
            languages=tuple(model.model.spec.languages),
        )  # fmt: skip

    async def answer(self, request: Any, given: Any) -> dict[str, Any]:
        """Answer a request.

        Raises:
            Refusal: labels with a classifier, or neither.
        """
        if bool(given.labels) == bool(given.classifier):
            raise Refusal(400, "Give either labels or the name of a classifier.")
        return await super().answer(request, given)

    async def samples(self, inputs: Sequence[Input], verb: Any) -> Samples[Any]:
        """Return the pictures, or what a fitted space takes in their place."""
        predictor = self.classifiers.get(verb.served)
        fitted = None if predictor is None else predictor.fitted
        return await self.service.samples(inputs, fitted.modality if isinstance(fitted, SpaceClassifier) else None)

    async def by_classifier(self, request: Any, inputs: Sequence[Input], name: str, **given: Any) -> Classified:
        """Return the predictions of an exported classifier, or of a fitted space with its classes.

        Raises:
            Refusal: the server has no classifier of this name.
        """
        question = classify.Classify(photos=(), served=name, **given)
        question = replace(question, photos=await self.samples(inputs, question))
        context = RequestContext(self.service.first, self._recent, self._named)
        return await self.service.call(request, f"classify/{name}", lambda: question.run(context).result)

    async def shared(
        self, request: Any, verb: Any, inputs: Sequence[Input], model: ServedModel
    ) -> dict[str, Any] | None:
        """Answer from names by batches that several requests share; None for systems and classifiers."""
        if verb.served or not verb.is_plain():
            return None
        classes = with_words(class_names(verb.names, verb.templates))
        result = await self.zero_shot(request, model, inputs, classes, verb.top, verb.threshold)
        return self.plain(Labels(verb, result, Source(InMemory(()))))
