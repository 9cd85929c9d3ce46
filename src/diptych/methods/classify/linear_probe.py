"""The linear probe is multinomial logistic regression on frozen unit embeddings.

    minimise over W, b   mean over i of -log softmax(W z_i + b)[y_i]  +  |W|^2 / (2 C N)

Sizes: N train images, K classes, D dimensions of the embeddings
z: (N, D) unit embeddings of the train images;  y: (N,) their class positions
W, b: (K, D) and (K,), weight and bias
C: inverse of the penalty's strength, > 0

The problem is convex, so the result depends on the data alone, not on a seed or a learning rate.

Few val photos give many values of C the same accuracy, and the smallest of them nearly even probabilities. So of
values with the best val accuracy the smallest is taken whose val cross-entropy is least, up to ``EQUAL``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from diptych.core import Backbone, Classifier, ClassNames, Evidence, FittedClassifier, Kit, Run, Samples, Scores
from diptych.core.ranges import above, check
from diptych.data.evidence import held_out, shots
from diptych.features.embed import embed
from diptych.nn.logistic import logistic_path

GRID = tuple(10.0**e for e in range(-4, 7))
"""Values of C that are tried on val: 1e-4, 1e-3 .. 1e6."""
EQUAL = 1e-3
"""Nats by which two val cross-entropies are equal (ours): of separable photos the largest C has the least, by what only
the rounding of a nearly singular fit tells apart.
"""


@dataclass(frozen=True)
class LinearProbe(Classifier):
    """Fit logistic regression on the embeddings of the shots.

    Args:
        C: inverse of the L2 penalty on W (scikit-learn's), > 0. None: chosen on val from 1e-4, 1e-3 .. 1e6.

    Raises:
        UsageError: C is not above 0.

    Source: Radford et al. 2021, section 3.2 and appendix A.3 (L-BFGS, penalty chosen on a log grid).

    Example:
        >>> import torch
        >>> from diptych.nn.logistic import logistic_path
        >>> y = torch.arange(60) % 3
        >>> noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> z = torch.nn.functional.normalize(2 * torch.eye(8)[y] + noise, dim=1)  # three classes round three axes
        >>> for weight, bias in logistic_path(z, y, classes=3, grid=(0.01, 1.0)):
        ...     print(round(float(weight.norm()), 1))  # a larger C penalises W less
        0.2
        4.5
    """

    C: float | None = None

    def __post_init__(self) -> None:
        check(self, above(0), "C")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedLinearProbe:
        """Fit W and b on train.

        A missing C is the one with the best val accuracy; of ties the smallest with the least mean val cross-entropy.

        Raises:
            MissingEvidence: train is missing, or val is missing and C was not given.
            DataError: a class has no train item, or a label lies outside the class list.
        """
        backbone = kit.need(Backbone)
        train, labels = shots(evidence, classes)
        grid = GRID if self.C is None else (self.C,)
        val = held_out(evidence, classes, choosing="C") if self.C is None else None

        z, y = normalize(embed(backbone.image, train.items, run), dim=-1), torch.tensor(labels)
        minimisers = run.once(f"linear-probe, C {grid}", lambda: _minimisers(z, y, len(classes), grid, run))
        best = 0
        if val is not None:
            z_val, y_val = normalize(embed(backbone.image, val[0].items, run), dim=-1), torch.tensor(val[1])
            best = _best([z_val @ w.T + b for w, b in minimisers], y_val)
        weight, bias = minimisers[best]
        return FittedLinearProbe(classes, backbone, weight, bias, grid[best])

    def with_weights(
        self, classes: ClassNames, backbone: Backbone, weight: Tensor, bias: Tensor, C: float
    ) -> FittedLinearProbe:
        """Return the probe of weights that were fitted elsewhere: (K, D), (K,), and their C."""
        return FittedLinearProbe(classes, backbone, weight, bias, C)


def _minimisers(z: Tensor, y: Tensor, classes: int, grid: Sequence[float], run: Run) -> list[tuple[Tensor, Tensor]]:
    """Return W (K, D) and b (K,), float32, for each C."""
    minimisers = []
    with run.track("linear probe, values of C", len(grid)) as bar:
        for w, b in logistic_path(z, y, classes, grid):
            minimisers.append((w.float(), b.float()))
            bar.advance()
    return minimisers


def _best(logits: Sequence[Tensor], labels: Tensor) -> int:
    """Return the first of the (N, K) logits with most right answers and, of those, up to EQUAL, least cross-entropy."""
    hits = [int((values.argmax(dim=1) == labels).sum()) for values in logits]
    errors = [float(cross_entropy(values, labels)) for values in logits]
    tied = [i for i, right in enumerate(hits) if right == max(hits)]
    least = min(errors[i] for i in tied)
    return next(i for i in tied if errors[i] <= least + EQUAL)


@dataclass(frozen=True)
class FittedLinearProbe(FittedClassifier):
    """A linear classifier on unit embeddings.

    Args:
        weight: (K, D), W.
        bias: (K,), b.
        C: that was used.
    """

    classes: ClassNames
    backbone: Backbone
    weight: Tensor
    bias: Tensor
    C: float

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return (N, K) logits."""
        z = normalize(embed(self.backbone.image, items, run), dim=-1)
        return Scores(z @ self.weight.T + self.bias, "logit")
