"""CLAP is a linear probe that starts at the text embeddings, and is held there where zero-shot knows the class.

    logits = s z normalise(w)^T + b
    minimise over w   mean over i of -log softmax(logits(x_i))[y_i]  +  weight mean over k of lambda_k |w_k - t_k|^2
    lambda_k = mean over the views i of class k of softmax( s x_i normalise(t)^T + b )_k

Sizes: n views of shots (labelled train images), K classes, D dimensions of the embeddings
x: (n, D) unit embeddings of the views;  y: (n,) their class positions;  z: (N, D) unit embeddings to classify
t: (K, D) mean text embeddings of the classes, not normalised;  w: (K, D) class vectors, which start at t
s, b: scale and bias of the backbone's logits; b = 0 for softmax backbones
lambda: (K,) multipliers of the constraint, in [0, 1], computed once and then fixed

With weight 0 it is the paper's unconstrained probe, ZS-LP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import Backbone, Classifier, ClassNames, Evidence, FittedClassifier, Kit, Run, Samples, Scores, Texts
from diptych.core.ranges import above, at_least, check
from diptych.data.evidence import shots
from diptych.data.views import TIP_VIEWS
from diptych.features.embed import embed
from diptych.features.heads import logits
from diptych.nn.descent import Momentum, along_cosine, cosine_slope, unit, unit_slope

MOMENTUM, FIRST = 0.9, 1e-5
"""Momentum of the steps, and the rate in the first epoch."""


def text_means(backbone: Backbone, prompts: Sequence[Sequence[str]], run: Run) -> Tensor:
    """Return the (K, D) mean text embeddings of each class's prompts, with the lengths that the backbone gives them."""
    sentences = dict.fromkeys(sentence for row in prompts for sentence in row)
    row_of = {sentence: i for i, sentence in enumerate(sentences)}
    texts = embed(backbone.text, Texts(tuple(sentences)), run).float()
    return torch.stack([texts[[row_of[sentence] for sentence in row]].mean(dim=0) for row in prompts])


def multipliers(probabilities: Tensor, y: Tensor) -> Tensor:
    """Return lambda (K,): the mean probability of its own class that zero-shot gives the views of each class.

    Args:
        probabilities: (n, K) of the views.
        y: (n,) class positions; every class must occur.

    Example:
        >>> sure = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4]])  # two views of the first class, one of the second
        >>> multipliers(sure, torch.tensor([0, 0, 1]))
        tensor([0.8000, 0.4000])
    """
    return torch.stack([probabilities[y == k, k].mean() for k in range(probabilities.shape[1])])


@dataclass(frozen=True)
class CLAP(Classifier):
    """Train one vector per class from the text embeddings, held back where zero-shot is right already.

    Use it where there is no validation set: nothing is chosen.

    Args:
        weight: of the constraint, >= 0 (default 1, the paper's); 0 is the unconstrained probe.
        epochs: passes over as many views as there are shots, or see whole, >= 0 (default 300, the authors').
        rate: of the steps, > 0 (default 0.1, the authors'); constant 1e-5 in the first epoch, then along a cosine to 0.
        batch: views per step, >= 1 (default 256, the authors').
        views: augmented views of each shot, >= 1 (default 20, the authors').
        whole: every step takes a whole batch of all views, and an epoch has as many steps as the batch goes into the
            shots, at least one (the authors'). Default false: an epoch takes as many views as there are shots, in even
            parts of at most a batch.

    Raises:
        UsageError: a parameter is below its least value.

    Source: Silva-Rodriguez et al. 2024, section 4 (ZS-LP, constraint, multipliers); rates and views are from its code.
    """

    weight: float = 1.0
    epochs: int = 300
    rate: float = 0.1
    batch: int = 256
    views: int = 20
    whole: bool = False

    def __post_init__(self) -> None:
        check(self, at_least(0), "weight", "epochs")
        check(self, at_least(1), "batch", "views")
        check(self, above(0), "rate")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedCLAP:
        """Train the class vectors on views of train.

        Raises:
            MissingEvidence: train is missing.
            DataError: a class has no train item, or a label lies outside the class list.
        """
        backbone = kit.need(Backbone)
        train, labels = shots(evidence, classes)
        t = text_means(backbone, classes.prompts(), run)
        views = embed(backbone.image, train.items, run, views=replace(TIP_VIEWS, draws=self.views))
        x, y = normalize(views, dim=-1).flatten(0, 1), torch.tensor(labels).repeat_interleave(views.shape[1])
        strengths = multipliers(logits(backbone, x, normalize(t, dim=1)).softmax(dim=1), y)
        steps = max(1, len(labels) // self.batch) if self.whole else -(-len(labels) // self.batch)
        drawn = steps * self.batch if self.whole else len(labels)
        w, generator, pull = t.clone(), run.generator("clap/order"), 2 * self.weight / len(t) * strengths[:, None]
        descent = Momentum(w, MOMENTUM)
        with run.track("train class vectors", self.epochs) as bar:
            for epoch in range(self.epochs):
                rows = torch.randperm(len(y), generator=generator)[:drawn]
                for part in torch.tensor_split(rows, steps):
                    z, (rows_of_w, lengths) = x[part], unit(w)
                    slope = unit_slope(cosine_slope(backbone, z, rows_of_w, y[part]).T @ z, rows_of_w, lengths)
                    descent.step(slope.addcmul_(pull, w - t), rate_of(epoch, self.epochs, self.rate))
                bar.advance()
        return FittedCLAP(classes, backbone, w, strengths)


def rate_of(epoch: int, epochs: int, rate: float) -> float:
    """Return the rate of an epoch: 1e-5 in the first, then along a cosine that ends at 0.

    Example:
        >>> [round(rate_of(e, 4, 0.1), 4) for e in range(4)]
        [0.0, 0.0854, 0.05, 0.0146]
    """
    return FIRST if epoch == 0 else along_cosine(rate, epoch, epochs)


@dataclass(frozen=True)
class FittedCLAP(FittedClassifier):
    """Class vectors in the place of the text head.

    Args:
        vectors: (K, D), w, not normalised.
        held: (K,), lambda.
    """

    classes: ClassNames
    backbone: Backbone
    vectors: Tensor
    held: Tensor

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return (N, K) logits."""
        z = normalize(embed(self.backbone.image, items, run), dim=-1)
        return Scores(logits(self.backbone, z, normalize(self.vectors, dim=1)), "logit")
