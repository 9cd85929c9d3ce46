"""Places in a plane for vectors, those that are alike near each other: t-SNE of their main components."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from diptych.search_index.described import Vectors

COMPONENTS = 50
PERPLEXITY = 30.0
"""Neighbours that a vector is drawn to, about."""
FEW = 5
"""Vectors of which the two main components are drawn as they are."""


def laid_out(vectors: Vectors, seed: int = 0) -> NDArray[np.float64]:
    """Return (n, 2) places in [0, 1], whose extremes in both directions are 0 and 1.

    Near places mean vectors that are alike; how far groups lie from each other means little. The time grows as n log n:
    some 15 seconds for 2,000 vectors on a core.

    Args:
        vectors: (n, D), finite.
        seed: of the optimiser.

    Source: van der Maaten & Hinton 2008, by scikit-learn's Barnes-Hut form, started from the main components.

    Example:
        >>> places = laid_out(np.eye(3, dtype=np.float32))
        >>> places.shape, float(places.min()), float(places.max())
        ((3, 2), 0.0, 1.0)
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    x = np.asarray(vectors, dtype=np.float64)
    most = min(len(x), x.shape[1], COMPONENTS)
    if most < 2:
        return np.full((len(x), 2), 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of equal vectors, which have no variance
        places = PCA(most, random_state=seed).fit_transform(x)
    if len(x) > FEW and np.ptp(places) > 0:
        near = TSNE(perplexity=min(PERPLEXITY, (len(x) - 1) / 3), init="pca", random_state=seed)
        places = near.fit_transform(places)
    places = places[:, :2] - places[:, :2].min(0)
    spread = places.max(0)
    return np.asarray(np.where(spread > 0, places / np.where(spread > 0, spread, 1), 0.5), dtype=np.float64)
