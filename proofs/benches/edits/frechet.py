"""Distance of two sets of vectors as normal distributions, of which the FID is one, in features of an Inception.

    d = |m_1 - m_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))

m_i, S_i: mean and covariance of set i
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diptych.core import DataError


def frechet_distance(first: ArrayLike, second: ArrayLike) -> float:
    """Return the distance, 0 for equal means and covariances.

    The trace of the root is the sum of the singular values of A B^T, where A and B are the centred sets over the roots
    of their sizes less one, so that neither covariance is formed. Sets of few vectors come out far apart: compare sets
    of one size.

    Args:
        first: (N, D), N >= 2.
        second: (M, D), M >= 2.

    Raises:
        DataError: a set has fewer than two vectors, or the widths differ.

    Source: Heusel et al. 2017, equation 6.

    Example:
        >>> x = np.array([[0.0, 0.0], [2.0, 0.0]])
        >>> round(frechet_distance(x, x + [3.0, 4.0]), 6)
        25.0
    """
    x, y = (np.asarray(v, dtype=np.float64) for v in (first, second))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise DataError(
            f"A Fréchet distance needs two sets of at least two vectors of one width, got {x.shape} and {y.shape}."
        )
    a, b = (_centred(v) for v in (x, y))
    root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return max(0.0, float(((x.mean(0) - y.mean(0)) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * root))


def _centred(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((x - x.mean(0)) / np.sqrt(len(x) - 1))
