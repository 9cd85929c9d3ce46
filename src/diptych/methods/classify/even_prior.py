"""Zero-shot with an even prior: one number a class is added, so that the shots get all classes equally often.

    sum over the shots x of softmax( L(x) + b )_k  =  M / K    for each class k

L(x): (K,) zero-shot logits of a shot;  b: (K,) offsets of mean 0;  M: shots;  K: classes

The labels of the shots are not read. Training on shots with shuffled labels teaches these offsets too, because the
shuffled labels are still balanced: what a few-shot system learns beyond them is its gain over this row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core.backbone import Backbone
from diptych.core.card import Card, Needs, ProofPlan
from diptych.core.data import ClassNames, Evidence, Samples
from diptych.core.errors import MissingEvidence
from diptych.core.kit import Kit
from diptych.core.method import Classifier, FittedClassifier, Scores
from diptych.core.run import Run
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
    """Classify zero-shot, with one offset a class that makes the answers about the shots even.

    Use it as the baseline of systems that learn from shots: it knows that the classes are equally frequent, and
    nothing else of them. Where the classes of the test items are not equally frequent, it is a wrong prior.

    Source: ours, after Zhao et al. 2021, who make the answer about a text without content even.

    Example:
        >>> even_offsets(torch.zeros(3, 2)).tolist()
        [0.0, 0.0]
    """

    card: ClassVar[Card] = Card(
        slug="even-prior",
        name="zero-shot, even prior",
        title="Calibrate Before Use: Improving Few-Shot Performance of Language Models",
        url="https://arxiv.org/abs/2102.09690",
        year=2021,
        verb="classify",
        claim="A model that predicts some classes too often gains from class offsets that make its predictions "
        "uniform, without any label.",
        needs=Needs(evidence=("train",)),
        trains="one number a class (convex)",
        differs=(
            "The paper makes a language model's answer about a text without content even; here the answers of a CLIP "
            "about the shots are made even on average, by offsets of the logits.",
            "The shots are drawn equally often from each class by their labels, so evenness is true of them. It need "
            "not be true of other pictures.",
        ),
        proof=ProofPlan(
            claim="Offsets that make the answers about the shots even beat zero-shot at 16 shots.",
            control="Fitted to shots whose pixels change places, they do not.",
            datasets=("demo:clothes", "cifar10_small"),
            not_shown="protocol: too few clothes",
        ),
        baseline=True,
    )

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
