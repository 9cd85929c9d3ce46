"""Blind pairs: two pictures that one encoder puts together and another one puts apart. NumPy in, NumPy out.

    (i, j) is blind  where  c_ij > similar  and  d_ij < different

c_ij, d_ij: cosines of pictures i and j by the first and by the second encoder

    S[a, b]: score of text a and picture b of a pair, (2, 2)
    the pair is right  where  S[0, 0] > S[0, 1]  and  S[1, 1] > S[1, 0]

Each text must choose its picture. Scores at random are right in a quarter of the pairs, and scores that do not depend
on the text in none.

Source: Tong et al. 2024.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, UsageError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def thresholds(
    first: Floats, second: Floats, top: float, bottom: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the cosine that a share ``top`` of random pairs exceeds, and that a share ``bottom`` is below.

    The former is by the first encoder, the latter by the second.

    Args:
        first: (N, D) unit vectors.
        second: (N, E) unit vectors of the same pictures.
        top: in (0, 1).
        bottom: in (0, 1).
        rng: draws 20,000 pairs.

    Raises:
        DataError: fewer than two pictures.
        UsageError: a share is outside (0, 1).
    """
    if len(first) < 2:
        raise DataError(f"Pairs need two pictures at least, got {len(first)}.")
    if not 0 < top < 1 or not 0 < bottom < 1:
        raise UsageError(f"top and bottom must be in (0, 1), got {top} and {bottom}.")
    i = rng.integers(len(first), size=20_000)
    j = (i + rng.integers(1, len(first), size=20_000)) % len(first)
    c, d = (np.einsum("nd,nd->n", v[i], v[j]) for v in (first, second))
    return float(np.quantile(c, 1 - top)), float(np.quantile(d, bottom))


def blind_pairs(
    first: Floats, second: Floats, similar: float, different: float, k: int = 20, block: int = 1024
) -> tuple[Ints, Floats]:
    """Return blind pairs among the k nearest pictures of each, by the first encoder.

    Memory is (block, N); the second encoder is asked about neighbours only.

    Args:
        first: (N, D) unit vectors.
        second: (N, E) unit vectors of the same pictures.
        similar: cosine by the first that a blind pair exceeds.
        different: cosine by the second that it is below.
        k: neighbours of each picture, >= 1.
        block: pictures at once, >= 1.

    Returns:
        (P, 2) pairs i < j, and their (P, 2) cosines by both encoders; the most similar by the first come first.

    Raises:
        DataError: the encoders have different numbers of pictures.
        UsageError: k or block is below 1.

    Example:
        >>> first = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> second = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> blind_pairs(first, second, 0.9, 0.5)[0].tolist()
        [[0, 1]]
    """
    if len(first) != len(second):
        raise DataError(f"Both encoders must see the same pictures, got {len(first)} and {len(second)}.")
    if k < 1 or block < 1:
        raise UsageError(f"k and block must be at least 1, got {k} and {block}.")
    near, blind = min(k, len(first) - 1), set[tuple[int, int]]()
    for start in range(0, len(first) if near > 0 else 0, block):
        rows = np.arange(start, min(start + block, len(first)))
        c = first[rows] @ first.T
        c[np.arange(len(rows)), rows] = -np.inf
        places = np.argpartition(-c, near - 1, axis=1)[:, :near]
        for row, place in zip(*np.nonzero(np.take_along_axis(c, places, 1) > similar), strict=True):
            i, j = int(rows[row]), int(places[row, place])
            if second[i] @ second[j] < different:
                blind.add((min(i, j), max(i, j)))
    pairs = np.array(sorted(blind), dtype=np.int64).reshape(-1, 2)
    cosines = np.stack([np.einsum("nd,nd->n", v[pairs[:, 0]], v[pairs[:, 1]]) for v in (first, second)], axis=1)
    order = np.argsort(-cosines[:, 0], kind="stable")
    return pairs[order], cosines[order]


def right_pairs(scores: Floats) -> NDArray[np.bool_]:
    """Return which of P pairs are right, (P,).

    Args:
        scores: (P, 2, 2) of text and picture; a tie is wrong.

    Example:
        >>> right_pairs(np.array([[[0.3, 0.2], [0.1, 0.4]], [[0.3, 0.2], [0.4, 0.1]]])).tolist()
        [True, False]
    """
    return np.asarray((scores[:, 0, 0] > scores[:, 0, 1]) & (scores[:, 1, 1] > scores[:, 1, 0]))
