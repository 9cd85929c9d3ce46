"""Gaussian fits a normal distribution to embeddings of normal photos; the score is an image's Mahalanobis distance.

    score(z)^2 = (z - m)^T C^-1 (z - m),    C = (1 - a) S + a tr(S)/D I

Sizes: N normal photos, D dimensions of the embeddings
z: (D,) unit image embedding
m, S: (D,) mean and (D, D) covariance of the unit embeddings of the normal photos
a: shrinkage of Ledoit and Wolf, in [0, 1]

S has rank r < N. So only its r directions are stored; all others have the variance a tr(S)/D.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import Anomaly, Backbone, DataError, Detector, Evidence, FittedDetector, Kit, Run, Samples
from diptych.data.evidence import normal_photos
from diptych.features.embed import embed


def mahalanobis(z: Tensor, mean: Tensor, directions: Tensor, variances: Tensor, rest: float) -> Tensor:
    """Return the (N,) distances of (N, D) vectors from ``mean``.

    Args:
        z: (N, D).
        mean: (D,).
        directions: (r, D), orthonormal.
        variances: (r,) of the directions, > 0.
        rest: variance of every direction orthogonal to them, > 0.
    """
    centred = z - mean
    along = centred @ directions.T
    outside = ((centred**2).sum(1) - (along**2).sum(1)).clamp_min(0)
    return ((along**2 / variances).sum(1) + outside / rest).sqrt()


@dataclass(frozen=True)
class Gaussian(Detector):
    """Fit one Gaussian to the embeddings of normal photos, its covariance shrunk as Ledoit and Wolf do.

    Source: Rippel et al. 2020, section III; Ledoit and Wolf 2004 for the shrinkage.

    Example:
        >>> import torch
        >>> from diptych.methods.detect.gaussian import mahalanobis
        >>> z = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
        >>> directions, variances = torch.tensor([[1.0, 0.0]]), torch.tensor([4.0])  # most spread along the first axis
        >>> mahalanobis(z, torch.zeros(2), directions, variances, rest=0.25)
        tensor([1., 4.])
    """

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedGaussian:
        """Estimate mean and covariance from the normal photos of train, in float64.

        Raises:
            MissingEvidence: train is missing.
            DataError: all normal photos have one embedding, or there is only one photo.
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
        nonzero = sizes > 1e-9 * sizes[0]
        # With few photos the share may be 0, and so the variance outside their span: a floor keeps distances finite.
        rest = max(share, 1e-6) * total / z.shape[1]
        variances = (1 - share) * sizes[nonzero] ** 2 / len(z) + rest
        return FittedGaussian(backbone, mean, directions[nonzero], variances, rest)


@dataclass(frozen=True)
class FittedGaussian(FittedDetector):
    """Mean and covariance.

    Args:
        mean, directions, variances, rest: see ``mahalanobis``; float64.
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
