"""Cache of class heads on disk: one unit vector a class, by the hash of its prompts. It does not import torch."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import Encoder, Run
from diptych.features.embed import space_facts
from diptych.store.layers import open_vectors

_SIZE = 4096  # classes per batch; rows do not depend on each other


class _RecentHeads:
    """The heads that this process read last, in memory.

    Rows of the store never change, so a head stays valid.
    """

    def __init__(self, most: int = 4) -> None:
        self._most, self._lock = most, threading.Lock()
        self._heads: OrderedDict[Hashable, NDArray[np.float32]] = OrderedDict()

    def get(self, key: Hashable) -> NDArray[np.float32] | None:
        """Return a copy of a head; None where it is not in memory."""
        with self._lock:
            head = self._heads.get(key)
            if head is None:
                return None
            self._heads.move_to_end(key)
            return head.copy()

    def put(self, key: Hashable, head: NDArray[np.float32]) -> None:
        """Add a copy of a head, and drop the least recently used one."""
        with self._lock:
            self._heads[key] = head.copy()
            if len(self._heads) > self._most:
                self._heads.popitem(last=False)


_RECENT = _RecentHeads()


def read_head(encoder: Encoder[Any], prompts: Sequence[Sequence[str]], run: Run) -> NDArray[np.float32] | None:
    """Return the (K, D) unit rows of K classes; None unless all are stored.

    Args:
        encoder: the text encoder; only its fingerprint, modality and width are used.
        prompts: prompts of each class, in order.
        run: precision, engine and cache folders.
    """
    if run.cache is None:
        return None
    key = (run.cache, run.shared_cache, json.dumps(_facts(encoder, run)), tuple(map(tuple, prompts)))
    if (recent := _RECENT.get(key)) is not None:
        return recent
    vectors = open_vectors(run)
    values, stored = vectors.get(vectors.space(_facts(encoder, run)), [_key(row) for row in prompts])
    if not stored.all():
        return None
    _RECENT.put(key, values)
    return values


def write_head(encoder: Encoder[Any], prompts: Sequence[Sequence[str]], head: NDArray[np.float32], run: Run) -> None:
    """Store the (K, D) unit rows of K classes; a class that has a row keeps it."""
    if run.cache is None:
        return
    vectors = open_vectors(run)
    space = vectors.space(_facts(encoder, run))
    rows = {_key(row): vector for row, vector in zip(prompts, head, strict=True)}
    missing = [key for key, stored in zip(rows, vectors.get(space, list(rows))[1], strict=True) if not stored]
    for batch in vectors.plan(space, missing, size=_SIZE):
        vectors.put(space, batch, np.stack([rows[key] for key in batch.keys]).astype(np.float32))


def _key(prompts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(prompts)).encode()).hexdigest()


def _facts(encoder: Encoder[Any], run: Run) -> dict[str, Any]:
    runner = run.engine.runner(encoder, run) if run.engine else None
    return {**space_facts(encoder, run, runner), "of": "class heads"}
