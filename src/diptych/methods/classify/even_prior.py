"""Zero-shot with an even prior: one number per class is added, so that the shots get all classes equally often.

    sum over the shots x of softmax( L(x) + b )_k  =  M / K    for each class k

L(x): (K,) zero-shot logits of a shot;  b: (K,) offsets of mean 0;  M: shots;  K: classes

The labels of the shots are not read. Training on shots with shuffled labels teaches these offsets too, because the
shuffled labels are still balanced: what a few-shot system learns beyond them is its gain over this row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
    MissingEvidence,
    Run,
    Samples,
    Scores,
)
from diptych.features.embed import embed
from diptych.features.heads import logits, text_head

STEPS, CLOSE = 1000, 1e-8
"""Steps at most, and the largest difference of a mean probability from 1 / K at which they end."""


def even_offsets(values: Tensor) -> Tensor:
    """Return the offsets (K,), of mean 0 and float64, under which the mean probabilities are even.

    Each step adds log(1 / K) - log(mean probability), which minimises a convex function (Sinkhorn's iteration).

    Args:
        values: (M, K) logits, M >= 1.

    Example:
        >>> skewed = torch.tensor([[2.0, 0.0], [1.0, 0.0], [3.0, 0.0], [0.0, 0.0]])
        >>> even = (skewed + even_offsets(skewed)).softmax(dim=1).mean(dim=0)
        >>> [round(float(p), 3) for p in even]
        [0.5, 0.5]
    """
    x, offsets = values.double(), torch.zeros(values.shape[1], dtype=torch.float64)
    for _ in range(STEPS):
        mean = (x + offsets).log_softmax(dim=1).logsumexp(dim=0) - torch.tensor(float(len(x))).log()
        if float((mean.exp() - 1 / x.shape[1]).abs().max()) < CLOSE:
            break
        offsets = offsets - mean
    return offsets - offsets.mean()


@dataclass(frozen=True)
class EvenPrior(Classifier):
    """Classify zero-shot, with one offset per class that makes the answers about the shots even.

    Use it as the baseline of systems that learn from shots: it knows that the classes are equally frequent, and
    nothing else of them. Where the classes of the test items are not equally frequent, it is a wrong prior.

    Source: ours, after Zhao et al. 2021, who make the answer about a text without content even.

    Example:
        >>> even_offsets(torch.zeros(3, 2)).tolist()
        [0.0, 0.0]
    """

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedEvenPrior:
        """Fit the offsets to the pictures of train; their labels are not read.

        Raises:
            MissingEvidence: there is no train picture.
        """
        backbone = kit.need(Backbone)
        if evidence.train is None or not len(evidence.train):
            raise MissingEvidence("The even prior is fitted to shots, and evidence.train is missing: give some.")
        head = text_head(backbone, classes.prompts(), run)
        z = normalize(embed(backbone.image, evidence.train.items, run), dim=-1)
        return FittedEvenPrior(classes, backbone, head, even_offsets(logits(backbone, z, head)).float())


@dataclass(frozen=True)
class FittedEvenPrior(FittedClassifier):
    """A text head with offsets.

    Args:
        head: (K, D) unit class embeddings.
        offsets: (K,) added to the logits.
    """

    classes: ClassNames
    backbone: Backbone
    head: Tensor
    offsets: Tensor

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return (N, K) logits with the offsets."""
        z = normalize(embed(self.backbone.image, items, run), dim=-1)
        return Scores(logits(self.backbone, z, self.head) + self.offsets, "logit")
