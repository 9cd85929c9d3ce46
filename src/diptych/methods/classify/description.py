"""Classification by description assigns an image to the class whose written features it resembles most, on average.

    t_ci = before + name_c + ", " + joined(d_ci) + after
    E_ci = normalise( text(t_ci) )
    s_c  = mean over i of  z . E_ci

Sizes: D dimensions of the embeddings, n_c features of class c
d_ci: feature i of class c, i = 1 .. n_c;  joined: the feature as a clause ("which has stripes")
t_ci: the sentence of that feature;  before, after: fixed text round it
E_ci: (D,) unit embedding of the sentence
z: (D,) unit embedding of the image
s_c: score of class c, a plain cosine without the backbone's scale

So s_c = z . w_c, where w_c is the mean of unit vectors and is not normalised again. A list whose sentences agree gives
a longer w_c and counts more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import (
    Backbone,
    Classifier,
    ClassNames,
    Evidence,
    FittedClassifier,
    Kit,
    Reason,
    Run,
    Samples,
    Scores,
    Texts,
)
from diptych.core.ranges import check, one_of
from diptych.data.words.pools import class_texts
from diptych.data.words.sentences import sentence
from diptych.features.embed import embed

Aggregate = Literal["mean", "max", "sum"]
"""How the cosines of a class become its score."""


def aggregated(cosines: Tensor, owner: Tensor, classes: int, aggregate: Aggregate) -> Tensor:
    """Return the (N, K) class scores of (N, P) cosines.

    Args:
        cosines: (N, P), of images with sentences.
        owner: (P,) class position of each sentence; every class must occur.
        classes: K.
        aggregate: "mean", "max" or "sum" over the sentences of a class.
    """
    reduce = "amax" if aggregate == "max" else aggregate
    start = cosines.new_zeros(len(cosines), classes)
    return start.scatter_reduce(1, owner.expand_as(cosines), cosines, reduce=reduce, include_self=False)


@dataclass(frozen=True)
class Description(Classifier):
    """Score an image against written features of each class.

    Args:
        before: text before the class name (default none, the paper's).
        after: text after the sentence; the paper uses "." for ImageNet and nothing elsewhere.
        aggregate: "mean" (the paper's), "max" or "sum" over the features of a class.

    Raises:
        UsageError: an unknown aggregate.

    Source: arXiv 2210.07183: descriptors, the sentences that join them to the name, and the mean of similarities.

    Example:
        >>> import torch
        >>> from diptych.data.words.sentences import sentence
        >>> from diptych.methods.classify.description import aggregated
        >>> sentence("zebra", "black and white stripes", "a photo of a ", ".")
        'a photo of a zebra, which has black and white stripes.'
        >>> cosines = torch.tensor([[0.2, 0.4, 0.5]])  # one image with two sentences of class 0 and one of class 1
        >>> aggregated(cosines, torch.tensor([0, 0, 1]), classes=2, aggregate="mean")
        tensor([[0.3000, 0.5000]])
    """

    before: str = ""
    after: str = ""
    aggregate: Aggregate = "mean"

    def __post_init__(self) -> None:
        check(self, one_of("mean", "max", "sum"), "aggregate")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedDescription:
        """Embed the sentences.

        The ``classes`` of the result hold the fixed text round the name as their template.

        Raises:
            MissingEvidence: texts are missing, or lack a class.
        """
        backbone = kit.need(Backbone)
        lists = [texts or ("",) for texts in class_texts(evidence, classes)]
        pairs = [(k, d) for k, texts in enumerate(lists) for d in texts]
        sentences = tuple(sentence(classes.names[k], d, self.before, self.after) for k, d in pairs)
        framed = replace(classes, templates=(f"{self.before}{{}}{self.after}",))
        owner = torch.tensor([k for k, _ in pairs])
        embeddings = normalize(embed(backbone.text, Texts(sentences), run), dim=-1)
        return FittedDescription(framed, backbone, embeddings, owner, tuple(d for _, d in pairs), self.aggregate)


@dataclass(frozen=True)
class FittedDescription(FittedClassifier):
    """P sentences, each of one class.

    Args:
        embeddings: (P, D) unit sentence embeddings.
        owner: (P,) int64 class positions.
        descriptions: P features as written; "" is the bare name.
        aggregate: how the cosines of a class become its score.
    """

    classes: ClassNames
    backbone: Backbone
    embeddings: Tensor
    owner: Tensor
    descriptions: tuple[str, ...]
    aggregate: Aggregate

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return (N, K) class scores.

        Means and maxima are cosines. Sums exceed 1, so they are of kind "logit".
        """
        z = normalize(embed(self.backbone.image, items, run), dim=-1)
        parts = [
            aggregated(part @ self.embeddings.T, self.owner, len(self.classes), self.aggregate)
            for part in torch.split(z, 4096)
        ]
        return Scores(torch.cat(parts), "logit" if self.aggregate == "sum" else "cosine")

    def explain(self, items: Samples[Any], run: Run) -> list[list[Reason]]:
        """Return the features of each item's top class, strongest first.

        A weight is the feature's share in the class score: cosine / n_c for "mean", the cosine for "sum". For "max"
            only the
        first feature has a weight above 0.
        """
        reasons = []
        for z in normalize(embed(self.backbone.image, items, run), dim=-1):
            row = self.embeddings @ z
            best = int(aggregated(row[None], self.owner, len(self.classes), self.aggregate).argmax())
            features = (self.owner == best).nonzero()[:, 0]
            order = features[row[features].argsort(descending=True, stable=True)].tolist()
            share = 1.0 if self.aggregate == "sum" else 1 / len(features)
            weights = [float(row[i]) * share for i in order]
            if self.aggregate == "max":
                weights = [float(row[order[0]])] + [0.0] * (len(order) - 1)
            texts = [self.descriptions[i] or self.classes.names[best] for i in order]
            reasons.append([Reason(text, weight) for text, weight in zip(texts, weights, strict=True)])
        return reasons
