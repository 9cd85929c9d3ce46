"""Hyp-OC separates the features of one class from noise round their mean, by a hyperplane of the Poincare ball.

    m      = alpha m + (1 - alpha) mean(f)
    g      ~ N(m, sigma^2 I)
    y      = exp_b(clip(net(f), r))
    loss   = CE(logits(y), real = 0, g = 1) + 1/B sum over i of d(y_i, y_{i + B/2})
    score  = logit_1 - logit_0

Sizes: B photos per batch, D dimensions of the features, W of the ball
f: (B, D) features of real photos in a batch
m: (D,) running mean of the real features
g: (B, D) pseudo-negatives, as many as real features
net: layers with ReLU, D -> W;  clip: shortens a vector to norm r at most
exp_b: map to the ball of curvature c at b, (W,), the point to which the learnt vector leads from 0
y: (B, W) points of the ball; d: distance there, which pulls pairs of real points together
logits: (2,) signed distances to two hyperplanes; those of g are computed in the same way
score: ranks photos as softmax_1 does, whose ends would round to 0 and 1; higher is less like the real ones
alpha, sigma, c, r: share of the old mean, spread of the noise, curvature and norm; settings of ``HypOC``
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from diptych.core import (
    Anomaly,
    Backbone,
    Clock,
    DataError,
    Detector,
    Evidence,
    FittedDetector,
    Kit,
    ParamGroup,
    Row,
    Run,
    Samples,
    Table,
    Trainee,
)
from diptych.core.ranges import above, at_least, between, check, one_of, wrong
from diptych.data.evidence import normal_photos
from diptych.features.embed import embed
from diptych.features.strict_weights import load_tensors
from diptych.features.vectors import Vectors
from diptych.nn.hyperbolic import Geometry, HypOCHead, PairDistance, pair_distance
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit, Schedule


class HypOCTrainee(Trainee):
    """Trains a head on features of real photos alone.

    Args:
        method: its settings.
        head: what is trained.
        features: (N, D) of all photos.
    """

    def __init__(self, method: HypOC, head: HypOCHead, features: Tensor) -> None:
        self.method, self.head, self.features = method, head, features
        self._moved = head.mean

    def module(self) -> nn.Module:
        """Return the head with its running mean."""
        return self.head

    def groups(self) -> list[ParamGroup]:
        """Return one group of all parameters; the Euclidean variant has no base point."""
        flat = self.method.geometry == "euclidean"
        return [ParamGroup(tuple(n for n, _ in self.head.named_parameters() if not (flat and n == "base")))]

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return the features of one photo."""
        return {"f": row.item}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the cross-entropy against pseudo-negatives, and the distance of pairs."""
        f, how = batch["f"], self.method
        batch_mean = f.mean(0)
        self._moved = batch_mean if clock.step == 0 else how.alpha * self.head.mean + (1 - how.alpha) * batch_mean
        g = how.negatives(self._moved, self.features, len(f), clock.generator).to(f)
        y = self.head(f)
        labels = torch.arange(2, device=f.device).repeat_interleave(len(f))
        first, second = y.chunk(2)
        return {
            "classes": cross_entropy(self.head.logits(torch.cat([y, self.head(g)])), labels),
            "pairs": how.distance(first, second).sum() / len(f),
        }

    def after(self, what: Literal["step", "epoch"], clock: Clock) -> None:
        """Store the running mean after a step."""
        if what == "step":
            self.head.mean.copy_(self._moved)


@dataclass(frozen=True)
class HypOC(Detector):
    """Train a hyperbolic head on frozen embeddings of normal photos.

    Features are centred, and scaled to a standard deviation of 1 in the mean over D.

    Args:
        widths: of the layers, each >= 1 (default ours).
        sigma: standard deviation of the pseudo-negatives, > 0 (default 1, the authors').
        alpha: share of the old value in the running mean, in [0, 1] (default 0.8, the authors').
        curvature: c, > 0 (default 0.1, the authors').
        radius: r, norm to which vectors are clipped before the ball, > 0 (default 2, the authors').
        geometry: "hyperbolic", or "euclidean", the variant without a ball.
        pairs: "artanh" (the distance), or "atan" (the authors' code).
        rate: learning rate of Adam, > 0.
        decay: weight decay, >= 0.
        batch: real photos per step, even, >= 2; fewer photos than that are one batch.
        epochs: passes over the photos, >= 1.
        clip: largest norm of the gradient, > 0.

    Raises:
        UsageError: a number or word is out of its range.

    Source: Narayan and Patel 2024, section 3 (arXiv 2404.14406).

    Example:
        >>> import torch
        >>> from diptych.methods.detect.hyp_oc import HypOC
        >>> method = HypOC(widths=(16, 4))
        >>> head = method.head(dim=8)
        >>> y = head(torch.randn(6, 8))  # six points of the ball
        >>> y.shape, head.logits(y).shape, bool((y.norm(dim=1) < method.curvature**-0.5).all())
        (torch.Size([6, 4]), torch.Size([6, 2]), True)
        >>> method.distance(y[:3], y[3:]).shape
        torch.Size([3])
    """

    widths: tuple[int, ...] = (1024, 512, 128)
    sigma: float = 1.0
    alpha: float = 0.8
    curvature: float = 0.1
    radius: float = 2.0
    geometry: Geometry = "hyperbolic"
    pairs: PairDistance = "artanh"
    rate: float = 1e-4
    decay: float = 1e-6
    batch: int = 8
    epochs: int = 60
    clip: float = 3.0

    def __post_init__(self) -> None:
        check(self, above(0), "sigma", "curvature", "radius", "rate", "clip")
        check(self, between(0, 1), "alpha")
        check(self, at_least(0), "decay")
        check(self, at_least(1), "widths", "epochs")
        check(self, one_of(*get_args(Geometry)), "geometry")
        check(self, one_of(*get_args(PairDistance)), "pairs")
        if self.batch < 2 or self.batch % 2:
            raise wrong(self, "batch", "even and at least 2")

    def head(self, dim: int) -> HypOCHead:
        """Return an untrained head for features of width ``dim``."""
        return HypOCHead(dim, self.widths, self.geometry, self.curvature, self.radius)

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the (B,) distances of pairs of (B, W) points in the geometry of the method."""
        if self.geometry == "euclidean":
            return (x - y).square().sum(-1).clamp_min(1e-12).sqrt()
        return pair_distance(x, y, self.curvature, self.pairs)

    def negatives(self, mean: Tensor, features: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Return (count, D) pseudo-negatives: noise of ``sigma`` round the running mean.

        Args:
            mean: (D,) running mean of the real features.
            features: (N, D) of all photos.
            count: real features of the step.
            generator: of the step.
        """
        return mean + self.sigma * torch.randn((count, *mean.shape), generator=generator).to(mean)

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedHypOC:
        """Train on the normal photos of train; the last epoch counts.

        Raises:
            MissingEvidence: train is missing.
            DataError: there are fewer than two normal photos, or all have one embedding.
        """
        backbone = kit.need(Backbone)
        items = normal_photos(evidence).items
        z = normalize(embed(backbone.image, items, run), dim=-1)
        centre = z.mean(0)
        spread = float((z - centre).square().mean().sqrt())
        if len(z) < 2 or spread < 1e-7:
            raise DataError(
                f"{len(z)} normal photos without any spread are too few to learn from: give two different ones, "
                f"better fifty."
            )
        f = (z - centre) / spread
        with run.seeded("hyp-oc"):
            head = self.head(f.shape[1])
        batch = min(self.batch, len(f) - len(f) % 2)
        settings = Fit(
            self.rate, batch, self.epochs, schedule=Schedule("constant"), optimizer="adam", betas=(0.9, 0.999),
            eps=1e-8,
            decay=self.decay, clip=self.clip,
        )  # fmt: skip
        learnt = train_parameters(HypOCTrainee(self, head, f), Table(Vectors(f, items)), settings, run)
        return FittedHypOC(backbone, centre, spread, learnt, self)


@dataclass(frozen=True)
class FittedHypOC(FittedDetector):
    """A trained head.

    Args:
        centre: (D,), subtracted from embeddings.
        spread: by which they are divided afterwards.
        state: parameters of the head.
        method: settings of the head.
    """

    backbone: Backbone
    centre: Tensor
    spread: float
    state: Mapping[str, Tensor]
    method: HypOC

    def detect(self, images: Samples[Any], run: Run) -> Iterator[Anomaly]:
        """Yield logit_1 - logit_0 of each image, 0 if both are equally likely; there are no maps."""
        if not len(images):
            return
        f = (normalize(embed(self.backbone.image, images, run), dim=-1) - self.centre) / self.spread
        # A fork, because layers draw their first weights from the global generator.
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            head = self.method.head(f.shape[1])
            load_tensors(head, self.state)
            real, fake = head.logits(head(f)).unbind(1)
        for score in (fake - real).tolist():
            yield Anomaly(score)
