"""What the subjects of an audit output for labelled items: scores, logits and unit embeddings."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import normalize

from diptych.core.audit import Subject
from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Samples
from diptych.core.method import FittedClassifier, Scores
from diptych.core.run import Run
from diptych.features.embed import embed
from diptych.features.heads import logits_of, text_head


def class_scores(subject: Subject, classes: ClassNames, items: Samples[Any], run: Run) -> Scores:
    """Return the class scores of N items, (N, K): those of the fitted classifier, or zero-shot cosines.

    Args:
        subject: its kit holds a fitted classifier of these classes as "classifier", or a backbone as "main".
        classes: K names with their templates; a fitted classifier has its own prompts.
        items: N samples; N may be 0.
        run: device and cache.

    Raises:
        MissingPart: the kit holds neither.
        UnreadableItem: an item cannot be read.
    """
    if "classifier" in subject.kit.parts:
        return subject.kit.need(FittedClassifier, "classifier").scores(items, run)
    backbone = subject.kit.need(Backbone)
    head = text_head(backbone, classes.prompts(), run)
    return Scores(embeddings(subject, items, run) @ head.T, "cosine")


def class_logits(subject: Subject, scores: Scores) -> Tensor:
    """Return the (N, K) logits of a subject's scores, of which a softmax gives probabilities.

    Args:
        subject: cosines are scaled as by the backbone of its kit, or of its fitted classifier.
        scores: of ``class_scores``. Out-of-distribution scores take these themselves, where they are cosines.

    Raises:
        MissingPart: the scores are cosines, and there is no backbone to scale them.
    """
    parts = subject.kit.parts
    backbone = parts.get("main", getattr(parts.get("classifier"), "backbone", None))
    if scores.kind == "cosine" and not isinstance(backbone, Backbone):
        backbone = subject.kit.need(Backbone)
    return logits_of(scores, backbone) if isinstance(backbone, Backbone) else _unscaled(scores)


def embeddings(subject: Subject, items: Samples[Any], run: Run) -> Tensor:
    """Return (N, D) unit image embeddings of the subject's backbone.

    Raises:
        MissingPart: the kit has no backbone.
        UnreadableItem: an item cannot be read.
    """
    return normalize(embed(subject.kit.need(Backbone).image, items, run), dim=-1)


def _unscaled(scores: Scores) -> Tensor:
    values = scores.values.float()
    return values if scores.candidates is None else values.masked_fill(~scores.candidates, float("-inf"))
