"""Zero-shot with an even prior: one number per class is added, so that the shots get all classes equally often.

    sum over the shots x of softmax( L(x) + b )_k  =  M / K    for each class k

L(x): (K,) zero-shot logits of a shot;  b: (K,) offsets of mean 0;  M: shots;  K: classes

The labels of the shots are not read. Training on shots with shuffled labels teaches these offsets too, because the
shuffled labels are still balanced: what a few-shot system learns beyond them is its gain over this row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
LARGEST = 600.0
"""Difference of a class's highest logit from the mean of those, up to which exp of it is a float64."""


def even_offsets(values: Tensor) -> Tensor:
    """Return the offsets (K,), of mean 0 and float64, under which the mean probabilities are even.

    Each step adds log(1 / K) - log(mean probability), which minimises a convex function (Sinkhorn's iteration). It is
    written for the factors exp(b_k + highest logit of k), so that a step has no exponentials.

    Args:
        values: (M, K) logits, M >= 1.

    Example:
        >>> import torch
        >>> skewed = torch.tensor([[2.0, 0.0], [1.0, 0.0], [3.0, 0.0], [0.0, 0.0]])
        >>> even = (skewed + even_offsets(skewed)).softmax(dim=1).mean(dim=0)
        >>> [round(float(p), 3) for p in even]
        [0.5, 0.5]
    """
    x = values.double()
    highest = x.amax(dim=0)
    near = x - highest
    kernel = (near - near.amax(dim=1, keepdim=True)).exp_()  # each class is 1 for some image, so no sum below is 0
    factors = (highest - highest.mean()).clamp(-LARGEST, LARGEST).exp()
    for _ in range(STEPS):
        mean = factors * (kernel.T @ (kernel @ factors).reciprocal()) / len(x)
        if float((mean - 1 / len(mean)).abs().max()) < CLOSE:
            break
        factors = factors / (mean * len(mean))
    offsets = factors.log() - highest
    return offsets - offsets.mean()


@dataclass(frozen=True)
class EvenPrior(Classifier):
    """Classify zero-shot, with one offset per class that makes the answers about the shots even.

    Use it as the baseline of systems that learn from shots: it knows that the classes are equally frequent, and
    nothing else of them. Where the classes of the test items are not equally frequent, it is a wrong prior.

    Source: ours, after Zhao et al. 2021, who make the answer about a text without content even.

    Example:
        >>> import torch
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
