"""Geometry of unit embeddings: spread, modality gap, uniformity, relative alignment, effective rank."""

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


def uniformity(x: Vectors, y: Vectors) -> float:
    """Return -log mean exp(-2 ||a - b||^2) over all pairs of vectors of both modalities. Higher is more uniform.

    Args:
        x: (N, D) unit vectors.
        y: (M, D) unit vectors.

    Source: Wang and Isola 2020, with the sign of Oh et al. 2023.

    Example:
        >>> x = np.eye(4)
        >>> round(uniformity(x[:2], x[2:]), 2), abs(round(uniformity(x[:1], x[:1]), 2))
        (4.0, 0.0)
    """
    z = np.concatenate([_some(x), _some(y)]).astype(np.float64)
    squared = np.clip(2 - 2 * z @ z.T, 0, None)
    return float(-np.log(np.exp(-2 * squared)[~np.eye(len(z), dtype=bool)].mean()))


def relative_alignment(x: Vectors, y: Vectors) -> NDArray[np.float64]:
    """Return how much nearer each vector's partner is than its hardest negative. Higher is better.

        a_i = min over k != i of ||x_i - y_k||^2  -  ||x_i - y_i||^2

    Args:
        x: (N, D) unit vectors, N at least 2.
        y: (N, D) their partners.

    Returns:
        (N,) the a_i, in [-4, 4].

    Raises:
        DataError: sizes differ, or fewer than two pairs.

    Source: Oh et al. 2023, section 3 (alignment relative to the hardest negative).

    Example:
        >>> relative_alignment(np.eye(2), np.eye(2)).tolist()
        [2.0, 2.0]
    """
    if x.shape != y.shape or len(x) < 2:
        raise DataError(f"Alignment needs at least two pairs of vectors, got sizes {x.shape} and {y.shape}.")
    squared = 2 - 2 * (x @ y.T).astype(np.float64)
    others = np.where(np.eye(len(x), dtype=bool), np.inf, squared)
    return np.asarray(others.min(1) - np.diag(squared), dtype=np.float64)


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
