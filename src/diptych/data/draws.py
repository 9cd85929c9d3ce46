"""Draws that depend on a seed and a place alone, so that shards, machines and resumed passes draw alike."""

from __future__ import annotations

import hashlib


def uniform(seed: int, place: int | str) -> float:
    """Return a number in [0, 1) from a seed and a place, such as a position or a name.

    Example:
        >>> uniform(0, 7) == uniform(0, 7), 0 <= uniform(3, "a.jpg") < 1
        (True, True)
    """
    return int.from_bytes(hashlib.blake2b(f"{seed}/{place}".encode(), digest_size=8).digest(), "big") / 2**64
