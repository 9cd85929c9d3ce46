"""Gaussian: how far an embedding lies from those of normal photos, in the spread that these have.

score(z)^2 = (z - m)^T C^-1 (z - m),    C = (1 - s) S + s tr(S)/D I          m, S: mean and covariance of normal unit
                                                                             embeddings

With N photos in D dimensions S has rank r < N, so C^-1 needs its r directions only: the rest has the variance s
tr(S)/D.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core.backbone import Backbone
from diptych.core.card import Card, Needs, ProofPlan
from diptych.core.data import Evidence, Samples
from diptych.core.errors import DataError
from diptych.core.kit import Kit
from diptych.core.method import Anomaly, Detector, FittedDetector
from diptych.core.run import Run
from diptych.data.evidence import normal_photos
from diptych.features.embed import embed


def mahalanobis(z: Tensor, mean: Tensor, directions: Tensor, variances: Tensor, rest: float) -> Tensor:
    """Return the (N,) distances of (N, D) vectors from ``mean``.

    Args:
        z: (N, D).
        mean: (D,).
        directions: (r, D) orthonormal.
        variances: (r,) of the directions, positive.
        rest: variance of every direction orthogonal to them, positive.
    """
    centred = z - mean
    along = centred @ directions.T
    outside = ((centred**2).sum(1) - (along**2).sum(1)).clamp_min(0)
    return ((along**2 / variances).sum(1) + outside / rest).sqrt()


@dataclass(frozen=True)
class Gaussian(Detector):
    """Fit one Gaussian to the embeddings of normal photos, its covariance shrunk as Ledoit and Wolf do.

    Source: Rippel et al. 2020, section III; Ledoit and Wolf 2004 for the shrinkage s.
    """

    card: ClassVar[Card] = Card(
        slug="gaussian",
        name="Gaussian",
        title="Modeling the Distribution of Normal Data in Pre-Trained Deep Features for Anomaly Detection",
        url="https://arxiv.org/abs/2005.14140",
        year=2020,
        verb="detect",
        claim="One Gaussian over the frozen features of normal photos is a strong detector of anomalies.",
        needs=Needs(hooks=("image",), evidence=("train",)),
        trains="nothing",
        differs=("One Gaussian over the final embedding, where the paper adds the distances of several depths.",),
        proof=ProofPlan(
            claim="Distance from normal embeddings ranks damaged things above chance (image AUROC).",
            control="Two random halves of the normal photos are ranked no better than chance.",
            datasets=("magnetic_tile", "textile_sim"),
        ),
        baseline=True,
    )

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedGaussian:
        """Estimate mean and covariance from the normal photos of train, in fp64.

        Raises:
            MissingPart: the kit has no backbone.
            MissingEvidence: train is missing.
            DataError: there are fewer than two different normal photos.
        """
        backbone = kit.need(Backbone)
        z = normalize(embed(backbone.image, normal_photos(evidence).items, run), dim=-1).double()
        mean = z.mean(0)
        centred = z - mean
        total = float((centred**2).sum()) / len(z)
        if total < 1e-12:
            raise DataError(
                "All normal photos have one embedding, so they have no spread to measure with: give two or more."
            )
        from sklearn.covariance import ledoit_wolf_shrinkage  # its import writes to the environment

        share = float(ledoit_wolf_shrinkage(z.numpy()))
        _, sizes, directions = torch.linalg.svd(centred, full_matrices=False)
        kept = sizes > 1e-9 * sizes[0]
        # Photos that are fewer than enough may shrink to nothing outside their span, or not at all: a floor keeps
        # distances finite.
        rest = max(share, 1e-6) * total / z.shape[1]
        variances = (1 - share) * sizes[kept] ** 2 / len(z) + rest
        return FittedGaussian(backbone, mean, directions[kept], variances, rest)


@dataclass(frozen=True)
class FittedGaussian(FittedDetector):
    """Mean and spread.

    Args:
        backbone: embeds images.
        mean, directions, variances, rest: see ``mahalanobis``; fp64.
    """

    backbone: Backbone
    mean: Tensor
    directions: Tensor
    variances: Tensor
    rest: float

    def detect(self, images: Samples[Any], run: Run) -> Iterator[Anomaly]:
        """Yield the Mahalanobis distance of each image; there are no maps."""
        if len(images):
            z = normalize(embed(self.backbone.image, images, run), dim=-1).double()
            for score in mahalanobis(z, self.mean, self.directions, self.variances, self.rest).tolist():
                yield Anomaly(score)
