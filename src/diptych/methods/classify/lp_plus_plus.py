"""LP++ is a linear probe whose weight of a class is a visual prototype plus a learnt multiple of its text embedding.

    logits_k = z (w_k + alpha_k t_k)^T
    minimise over w, alpha   mean over i of -log softmax(logits(x_i))[y_i]

    start    w_k = sum of the x of class k,   alpha_k = 2.5 s mean over classes j of mean over j's x of x t_j^T
    w        momentum 0.9, step 4 n / largest eigenvalue of x^T x
    alpha    every tenth step, step n / (4 max over k of sum over i of (x_i t_k^T)^2)

Sizes: n views of shots (labelled train images), K classes, D dimensions of the embeddings
x: (n, D) unit embeddings of the views;  y: (n,) their class positions;  z: (N, D) unit embeddings to classify
t: (K, D) unit class embeddings of the text tower
w, alpha: (K, D) and (K,), visual prototypes and multipliers
s: scale of the backbone's logits

Both steps follow from the data: the loss is convex, and its curvature in w is at most half the largest eigenvalue of
x^T x / n, in alpha at most half the largest mean over i of (x_i t_k^T)^2.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from diptych.core import Backbone, Classifier, ClassNames, Evidence, FittedClassifier, Kit, Run, Samples, Scores
from diptych.core.ranges import at_least, check
from diptych.data.evidence import held_out, shots
from diptych.data.views import TIP_VIEWS
from diptych.features.embed import embed
from diptych.features.heads import text_head

MOMENTUM, EVERY, BLEND = 0.9, 10, 2.5
"""Momentum of w, steps from one step of alpha to the next, and the authors' first factor of alpha, 250, on a scale of
100.
"""

KEPT = 1 << 25
"""Numbers of all prototypes along the path (256 MiB), up to which it is kept for a second fit."""


def first_blend(x: Tensor, y: Tensor, head: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Return the first prototypes (K, D), sums of the rows of each class, and the first multipliers (K,), all equal.

    Args:
        x: (n, D) unit embeddings; every class must occur.
        y: (n,) class positions.
        head: (K, D) unit class embeddings.
        scale: s.
    """
    members = one_hot(y, len(head)).to(x)
    near = (members.T @ (x * head[y]).sum(dim=1)) / members.sum(dim=0)
    return members.T @ x, (BLEND * scale * near.mean()).expand(len(head)).clone()


def step_sizes(x: Tensor, head: Tensor) -> tuple[float, float]:
    """Return the steps of w and alpha, from the curvature of the loss.

    Args:
        x: (n, D) unit embeddings.
        head: (K, D) unit class embeddings.
    """
    largest = torch.linalg.eigvalsh(x @ x.T if len(x) < x.shape[1] else x.T @ x)[-1]
    cosines = (x @ head.T).square().sum(dim=0).max().clamp_min(torch.finfo(x.dtype).tiny)
    return float(4 * len(x) / largest), float(len(x) / (4 * cosines))


def descent(x: Tensor, y: Tensor, head: Tensor, w: Tensor, alpha: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield prototypes (K, D) and multipliers (K,) after each step, without end.

    Args:
        x: (n, D) unit embeddings.
        y: (n,) class positions.
        head: (K, D) unit class embeddings.
        w: (K, D) first prototypes.
        alpha: (K,) first multipliers.
    """
    rate, rate_alpha = step_sizes(x, head)
    labels, text = one_hot(y, len(head)).T.to(x), head @ x.T
    velocity, step = torch.zeros_like(w), 0
    while True:
        step += 1
        slope = torch.addmm(alpha[:, None] * text, w, x.T).softmax(dim=0).sub_(labels).div_(len(x))  # (K, n)
        velocity = torch.addmm(velocity, slope, x, beta=MOMENTUM)
        w = w - rate * velocity
        if step % EVERY == 0:
            alpha = alpha - rate_alpha * (slope * text).sum(dim=1)
        yield w, alpha


@dataclass(frozen=True)
class LPPlusPlus(Classifier):
    """Fit visual prototypes and the share of the text in each class, by steps whose sizes follow from the shots.

    Use it where a linear probe has too few shots: it begins with the text, and has no rate to search.

    Args:
        steps: steps of w, >= 0; 0 keeps the start (default 300, the authors').
        early_stopping: take the step after which val accuracy is best, of ties the last, as the authors do; else the
            last one, which needs no val.
        views: augmented views of each shot, >= 1 (default 1, the authors').

    Raises:
        UsageError: steps is below 0, or views is below 1.

    Source: Huang et al. 2024, section 3 (blended probe, block descent); steps, start and momentum are from its code.

    Example:
        >>> import torch
        >>> y = torch.arange(30) % 3
        >>> noise = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
        >>> x, t = torch.nn.functional.normalize(torch.eye(8)[y] + 0.3 * noise, dim=1), torch.eye(8)[:3]
        >>> w, alpha = first_blend(x, y, t, scale=1.0)
        >>> path = descent(x, y, t, w, alpha)
        >>> for _ in range(10):
        ...     last, blend = next(path)
        >>> last.shape, bool((blend != alpha).all())  # the tenth step moves alpha too
        (torch.Size([3, 8]), True)
    """

    steps: int = 300
    early_stopping: bool = True
    views: int = 1

    def __post_init__(self) -> None:
        check(self, at_least(0), "steps")
        check(self, at_least(1), "views")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedLPPlusPlus:
        """Fit prototypes and multipliers on the views of train.

        Raises:
            MissingEvidence: train is missing, or val is missing with early_stopping.
            DataError: a class has no train item, or a label lies outside the class list.
        """
        backbone = kit.need(Backbone)
        train, labels = shots(evidence, classes)
        choose = self.early_stopping and self.steps > 0
        val = held_out(evidence, classes, choosing="early_stopping") if choose else None

        head = text_head(backbone, classes.prompts(), run)
        views = embed(backbone.image, train.items, run, views=replace(TIP_VIEWS, draws=self.views))
        x, y = normalize(views, dim=-1).flatten(0, 1).double(), torch.tensor(labels).repeat_interleave(self.views)
        text = head.double()
        first, alpha = first_blend(x, y, text, float(backbone.scale("image", "text")[0]))
        at, w = 0, first / self.views  # the sum is over shots, however many views each has
        path: Iterable[tuple[Tensor, Tensor]] = itertools.islice(descent(x, y, text, w, alpha), self.steps)
        if run.learnt is not None and self.steps * w.numel() <= KEPT:
            walked = path
            path = run.once(f"lp-plus-plus, {self.steps} steps, {self.views} views", lambda: list(walked))
        z, y_val = (
            (normalize(embed(backbone.image, val[0].items, run), dim=-1).double(), torch.tensor(val[1]))
            if val
            else (x[:0], y[:0])
        )
        best = -1
        for step, (w_now, alpha_now) in enumerate(path, start=1):
            right = int(((w_now + alpha_now[:, None] * text) @ z.T).argmax(dim=0).eq(y_val).sum())
            if right >= best:
                best, at, w, alpha = right, step, w_now, alpha_now
        return FittedLPPlusPlus(classes, backbone, head, w.float(), alpha.float(), at)


@dataclass(frozen=True)
class FittedLPPlusPlus(FittedClassifier):
    """A text head, visual prototypes and the multipliers that blend them.

    Args:
        head: (K, D) unit class embeddings, t.
        prototypes: (K, D), w.
        alpha: (K,) multipliers.
        step: the step after which they stood.
    """

    classes: ClassNames
    backbone: Backbone
    head: Tensor
    prototypes: Tensor
    alpha: Tensor
    step: int

    @property
    def chosen(self) -> dict[str, float]:
        """The settings that repeat the fit without val: so many steps, none of which is compared."""
        return {"steps": self.step, "early_stopping": False}

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return (N, K) logits."""
        z = normalize(embed(self.backbone.image, items, run), dim=-1)
        return Scores(z @ (self.prototypes + self.alpha[:, None] * self.head).T, "logit")
