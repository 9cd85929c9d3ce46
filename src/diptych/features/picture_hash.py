"""Difference hash of a picture: 64 bits that say where it becomes brighter from left to right.

    b_rc = 1 where x_{r, c+1} > x_{r, c},   r, c in 0..7

x: (8, 9) grey values of the picture, resized by an antialiased box
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bits = NDArray[np.uint64]
_POPULATION = np.array([bin(i).count("1") for i in range(256)], dtype=np.uint8)


def difference_hash(image: Image.Image) -> tuple[int, int]:
    """Return the hash of a picture and that of its mirror image, each in [0, 2^64).

    Pictures that were saved anew or resized differ in a few bits, unrelated ones in about half.

    Source: the dHash of Krawetz (2013).

    Example:
        >>> ramp = Image.fromarray(np.tile(np.arange(0, 180, 2, dtype=np.uint8), (80, 1)))
        >>> difference_hash(ramp) == (2**64 - 1, 0)
        True
    """
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    return _packed(grey), _packed(grey[:, ::-1])


def bits_apart(a: Bits, b: Bits) -> NDArray[np.uint8]:
    """Return the (N, M) numbers of bits in which (N,) and (M,) hashes differ."""
    both = np.bitwise_xor(a[:, None], b[None, :])
    return np.asarray(_POPULATION[both.view(np.uint8)].reshape(*both.shape, 8).sum(axis=-1), dtype=np.uint8)


def _packed(grey: NDArray[Any]) -> int:
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "big")
