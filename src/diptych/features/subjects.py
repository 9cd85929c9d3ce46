"""What the subjects of an audit output for labelled items: scores, logits and unit embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import Backbone, ClassNames, DataError, FittedClassifier, Run, Samples, Scores, Subject
from diptych.features.embed import embed
from diptych.features.heads import logits_of, text_head


def class_scores(subject: Subject, classes: ClassNames, items: Samples[Any], run: Run) -> Scores:
    """Return the class scores of N items, (N, K): those of the fitted classifier, or zero-shot cosines.

    Args:
        subject: its kit holds a fitted classifier of these classes as "classifier", or a backbone as "main".
        classes: K names with their templates. A fitted classifier has its own prompts; where it knows more classes, its
            columns are chosen by name, so that a softmax is over these K.
        items: N samples; N may be 0.
        run: device and cache.

    Raises:
        MissingPart: the kit holds neither.
        DataError: the fitted classifier does not know a class.
        UnreadableItem: an item cannot be read.
    """
    if "classifier" in subject.kit.parts:
        fitted = subject.kit.need(FittedClassifier, "classifier")
        return _named(fitted.scores(items, run), fitted.classes, classes)
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


@dataclass(frozen=True)
class Answers:
    """What a model answers about N labelled items.

    Args:
        scores: (N, K), as the model gives them.
        logits: (N, K), of which a softmax gives probabilities.
        labels: (N,) class positions.
    """

    scores: Scores
    logits: NDArray[np.float64]
    labels: NDArray[np.int64]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(N,) best class."""
        return self.scores.predicted().numpy()

    @property
    def hits(self) -> NDArray[np.bool_]:
        """(N,) whether the best class is right."""
        return np.asarray(self.predicted == self.labels)

    @property
    def chance(self) -> float:
        """Accuracy of whoever always names the most frequent class."""
        counts = np.bincount(self.labels, minlength=self.logits.shape[1])
        return float(counts.max() / counts.sum())


def answers(subject: Subject, classes: ClassNames, items: Samples[Any], labels: NDArray[np.int64], run: Run) -> Answers:
    """Return the answers of a subject about N items of K classes.

    Args:
        subject: as for ``class_scores``.
        classes: K names.
        items: N samples.
        labels: (N,) class positions.
        run: device and cache.
    """
    scores = class_scores(subject, classes, items, run)
    return Answers(scores, class_logits(subject, scores).double().numpy(), labels)


def embeddings(subject: Subject, items: Samples[Any], run: Run) -> Tensor:
    """Return (N, D) unit image embeddings of the subject's backbone.

    Raises:
        MissingPart: the kit has no backbone.
        UnreadableItem: an item cannot be read.
    """
    return normalize(embed(subject.kit.need(Backbone).image, items, run), dim=-1)


def _named(scores: Scores, known: ClassNames, wanted: ClassNames) -> Scores:
    """Return the columns of the wanted classes, by their names."""
    if known.names == wanted.names:
        return scores
    if missing := [name for name in wanted.names if name not in known.names]:
        raise DataError(
            f"The classifier does not know {missing[0]!r}, only {', '.join(known.names)}: give tables with its names."
        )
    columns = [known.names.index(name) for name in wanted.names]
    candidates = None if scores.candidates is None else scores.candidates[:, columns]
    return Scores(scores.values[:, columns], scores.kind, candidates)


def _unscaled(scores: Scores) -> Tensor:
    values = scores.values.float()
    return values if scores.candidates is None else values.masked_fill(~scores.candidates, float("-inf"))
