"""Draws that depend on a seed and a place alone, so that shards, machines and resumed passes draw alike."""

from __future__ import annotations

import hashlib
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def uniform(seed: int, place: int | str) -> float:
    """Return a number in [0, 1) from a seed and a place, such as a position or a name.

    Example:
        >>> uniform(0, 7) == uniform(0, 7), 0 <= uniform(3, "a.jpg") < 1
        (True, True)
    """
    return int.from_bytes(hashlib.blake2b(f"{seed}/{place}".encode(), digest_size=8).digest(), "big") / 2**64


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore the state of Python's ``random`` and the warning filters after a block.

    The first import of parts of scikit-learn draws from the one and adds to the others.
    """
    state = random.getstate()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        random.setstate(state)
