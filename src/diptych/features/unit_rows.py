"""Vectors of length 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def unit_rows(values: NDArray[np.floating[Any]], out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return (..., D) vectors of length 1, of the same dtype; a vector of zeros stays.

    Args:
        values: (..., D).
        out: where they are written, perhaps of fewer bits, or ``values``; None: a new array.

    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    lengths = np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), np.float32(1e-12))
    unit: NDArray[Any] = np.divide(values, lengths, out=out, casting="same_kind")
    return unit
