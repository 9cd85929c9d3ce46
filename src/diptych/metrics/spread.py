"""Geometry of unit embeddings: spread, modality gap, effective rank."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError

Vectors = NDArray[np.floating[Any]]


def spread(x: Vectors) -> float:
    """Return 1 - ||mean x||^2, the mean of 1 - cosine over all pairs. In [0, 1]; 0 is a collapse to one point.

    Args:
        x: (N, D) unit vectors.

    Raises:
        DataError: no vectors.
    """
    return float(1 - np.square(_some(x).mean(0)).sum())


def modality_gap(x: Vectors, y: Vectors) -> float:
    """Return ||mean x - mean y||, from 0 (the modalities share a centre) to 2.

    Args:
        x: (N, D) unit vectors.
        y: (M, D) unit vectors.

    Source: Liang et al. 2022, section 2.
    """
    return float(np.linalg.norm(_some(x).mean(0) - _some(y).mean(0)))


def effective_rank(x: Vectors) -> float:
    """Return the effective rank, the number of directions that the vectors use, from 1 to D.

    It is exp(entropy of the covariance's eigenvalues, normalised to sum 1); 0 where all vectors are equal.

    Args:
        x: (N, D) vectors.

    Source: Roy and Vetterli 2007.
    """
    values = np.linalg.svd(_some(x) - x.mean(0), compute_uv=False).astype(np.float64) ** 2
    if values.sum() <= 0:
        return 0.0
    p = values[values > 0] / values.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def _some(x: Vectors) -> Vectors:
    if x.ndim != 2 or not len(x):
        raise DataError(f"Vectors must be (N, D), at least one, got {x.shape}.")
    return x
