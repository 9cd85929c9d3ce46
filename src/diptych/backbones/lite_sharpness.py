"""How sure ``lite`` may be of a photo: a scale of its own for the cosines of each photo with class names.

    probabilities(x) = softmax over k of  t(x) cos(x, k)
    ln t(x)          = w0 + w1 ln |p(x)| + w2 ln m(x) + w3 (ln m(x))^2

p(x): (1000,) distribution of a photo over the ImageNet classes
|p(x)|: its Euclidean norm, 1 where one class has it all, 0.03 where all have the same
m(x): the largest cosine with a name, at least 0.02: it is small for broad words such as "animal", whose own
    distribution is wide, and for photos that show none of the names
w: (4,), fitted on proxies for one image encoder each, see ``recipes.lite_probabilities``

An embedding holds p / |p| times a constant. So the cosines of a photo that the classifier is unsure of are as large as
those of a clear one, and no scale fits both. Since p sums to 1, |p| = |u| / sum(u) of the first 1,000 numbers u. One
positive factor a photo changes no order of classes. This module does not import torch.

Source: Balanya, Maroñas and Ramos 2024, "Adaptive temperature scaling for robust calibration of deep neural networks":
a temperature of each item, there of the entropy of the answer itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES, LEAST = 1000, 0.02
"""The first numbers of an embedding are its classes; m is at least ``LEAST``."""
FITTED: Mapping[str, tuple[float, float, float, float]] = MappingProxyType(
    {
        "cf0c5550cd00976e": (2.07, 0.73, -1.78, -0.42),  # lite:2026-11
        "5e1f195e608adb9d": (2.96, 0.42, -1.09, -0.25),  # lite:views
        "4938e2286f782fd9": (2.67, 0.42, -1.25, -0.21),  # lite
    }
)
"""Fingerprint of the image encoder -> w. Other encoders, such as fine-tuned ones, have none."""


def facts(vectors: NDArray[np.floating[Any]], nearest: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return (N, 4): 1, ln |p|, ln m and (ln m)^2.

    Args:
        vectors: (N, 2664) image embeddings of any length.
        nearest: (N,) largest cosine with a name.

    Example:
        >>> facts(np.array([[3.0, 3.0]]), np.array([1.0])).round(2)  # two of the classes have one half each
        array([[ 1.  , -0.35,  0.  ,  0.  ]])
    """
    u = vectors[:, :CLASSES].astype(np.float64)
    norm = np.linalg.norm(u, axis=1) / np.maximum(u.sum(axis=1), 1e-12)
    log_m = np.log(np.clip(nearest.astype(np.float64), LEAST, 1))
    return np.stack([np.ones(len(u)), np.log(np.clip(norm, CLASSES**-0.5, 1)), log_m, log_m**2], axis=1)


def scales(
    vectors: NDArray[np.floating[Any]], nearest: NDArray[np.floating[Any]], fingerprint: str
) -> NDArray[np.float32] | None:
    """Return the scale t of each photo's cosines, (N,).

    Args:
        vectors: (N, 2664) image embeddings of any length.
        nearest: (N,) largest cosine with a name.
        fingerprint: of the image encoder that gave the vectors.

    Returns:
        None for an encoder without fitted numbers: the scale is that of the backbone.
    """
    if fingerprint not in FITTED:
        return None
    return np.asarray(np.exp(facts(vectors, nearest) @ np.array(FITTED[fingerprint])), dtype=np.float32)
