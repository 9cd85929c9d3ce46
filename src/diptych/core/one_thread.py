"""Small products in one thread: those of BLAS and OpenMP that wait for the next product keep their cores busy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

LARGE = 2**28
"""Multiplications from which more threads repay their waiting: about 10 ms of one core."""


@contextmanager
def one_thread(multiplications: int) -> Iterator[None]:
    """Let BLAS and OpenMP use one thread within a block, in the whole process, unless its products are ``LARGE``.

    Args:
        multiplications: of the largest product in the block.
    """
    if multiplications >= LARGE:
        yield
        return
    with _controller(len(sys.modules)).limit(limits=1):
        yield


@lru_cache(maxsize=1)
def _controller(modules: int) -> Any:
    """Return what knows the libraries that are loaded; to look for them takes longer than a small product."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
