"""Which of two features do decisions follow, and how far is that from the best possible decisions?

    R = |mean of y'_i sign(z_s,i)| - |mean of y'_i sign(z_c,i)|      reliance, in [-1, 1]
    B = R(model) - R(best)                                           shortcut bias, in [-2, 2]

y'_i: decision -1 or +1 about probe i
z_s,i, z_c,i: its shortcut and its core feature, neither 0
best: sign(z^T S^-1 mu), the best decision where z given the label y is normal with mean y mu and covariance S

R = 1: decisions follow the shortcut alone; -1: the core alone.

Source: Hermann et al. 2024. Its formula is said to carry a factor 2 / n, which does not give the range
[-1, 1] that it states; we take 1 / n.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def agreements(decisions: Ints, z: Floats) -> Floats:
    """Return (N, 2) values, +1 where a decision has the sign of the shortcut, of the core, and -1 where it has not.

    Args:
        decisions: (N,) of -1 and +1.
        z: (N, 2) shortcut and core, none of them 0.

    Raises:
        DataError: a decision is neither -1 nor +1, a feature is 0 or NaN, or there are none.
    """
    if not len(z) or not (np.abs(decisions) == 1).all() or not (np.abs(z) > 0).all():
        raise DataError("Decisions must be -1 or +1, and features not 0 or NaN, at least one: give such probes.")
    return np.asarray(decisions[:, None] * np.sign(z))


def reliance(decisions: Ints, z: Floats) -> float:
    """Return R of (N,) decisions about (N, 2) probes, in [-1, 1].

    Raises:
        DataError: as ``agreements``.

    Example:
        >>> z = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> reliance(np.array([1, 1, -1, -1]), z)
        1.0
    """
    shortcut, core = np.abs(agreements(decisions, z).mean(axis=0))
    return float(shortcut - core)


def best_decisions(z: Floats, means: Floats, scatter: Floats) -> Ints:
    """Return the (N,) decisions sign(z^T S^-1 mu), with +1 on the boundary.

    Args:
        z: (N, 2).
        means: (2,), mu.
        scatter: (2, 2), S.
    """
    return decided(z @ np.linalg.solve(scatter, means))


def decided(margins: Floats) -> Ints:
    """Return -1 or +1 by the sign of (N,) margins, with +1 at 0."""
    return np.where(margins >= 0, 1, -1).astype(np.int64)
