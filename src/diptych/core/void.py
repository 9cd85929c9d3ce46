"""The value of pixels of no class in a label map: 255 in maps of 8 bits, 65,535 in those of 16.

A map of K classes holds positions 0 to K - 1, so K decides the width: up to 255 classes take 8 bits, more take 16.

Example:
    >>> void_of(150), void_of(847)
    (255, 65535)
    >>> void_in(as_map(np.array([[0, 300]]), 847))
    65535
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

NARROW, WIDE = 255, 65535
"""Most classes of a map of 8 and of 16 bits, and the value of pixels of no class in each."""
Labels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]


def void_of(classes: int) -> int:
    """Return the value of pixels of no class in a map of so many classes."""
    return NARROW if classes <= NARROW else WIDE


def void_in(labels: NDArray[np.integer[Any]]) -> int:
    """Return the value of pixels of no class in a map: 65,535 where it has 16 bits, else 255."""
    return WIDE if labels.dtype == np.uint16 else NARROW


def as_map(labels: NDArray[np.integer[Any]], classes: int) -> Labels:
    """Return class positions as a map of so many classes: (H, W) uint8, or uint16 for more than 255."""
    return labels.astype(np.uint8) if classes <= NARROW else labels.astype(np.uint16)
