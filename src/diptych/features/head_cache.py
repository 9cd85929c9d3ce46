"""Class heads on disk: one unit vector a class, by the hash of its prompts, so that a known class costs one row. No
torch.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core.backbone import Encoder
from diptych.core.run import Run
from diptych.features.embed import space_facts
from diptych.store.layers import open_vectors

_SIZE = 4096  # classes a batch: rows do not depend on each other, so the size is free


class _Held:
    """The heads that this process read last, so that a call with known labels costs the same however many they are.

    Rows of the store never change, so a head that was read stays right.
    """

    def __init__(self, most: int = 4) -> None:
        self._most, self._lock = most, threading.Lock()
        self._heads: OrderedDict[Hashable, NDArray[np.float32]] = OrderedDict()

    def get(self, which: Hashable) -> NDArray[np.float32] | None:
        """Return a copy of a head; None where it is not held."""
        with self._lock:
            head = self._heads.get(which)
            if head is None:
                return None
            self._heads.move_to_end(which)
            return head.copy()

    def put(self, which: Hashable, head: NDArray[np.float32]) -> None:
        """Hold a copy of a head, and let go of the one that was asked for longest ago."""
        with self._lock:
            self._heads[which] = head.copy()
            if len(self._heads) > self._most:
                self._heads.popitem(last=False)


_HELD = _Held()


def read_head(encoder: Encoder[Any], prompts: Sequence[Sequence[str]], run: Run) -> NDArray[np.float32] | None:
    """Return the (K, D) unit rows of K classes; None unless all are known.

    Args:
        encoder: of texts; only its fingerprint, modality and width are asked.
        prompts: of each class, in order.
        run: precision, engine and cache folders.
    """
    if run.cache is None:
        return None
    which = (run.cache, run.shared_cache, json.dumps(_facts(encoder, run)), tuple(map(tuple, prompts)))
    if (held := _HELD.get(which)) is not None:
        return held
    vectors = open_vectors(run)
    values, found = vectors.get(vectors.space(_facts(encoder, run)), [_key(row) for row in prompts])
    if not found.all():
        return None
    _HELD.put(which, values)
    return values


def write_head(encoder: Encoder[Any], prompts: Sequence[Sequence[str]], head: NDArray[np.float32], run: Run) -> None:
    """Keep the (K, D) unit rows of K classes; a class that is known keeps the row that was first."""
    if run.cache is None:
        return
    vectors = open_vectors(run)
    space = vectors.space(_facts(encoder, run))
    rows = {_key(row): vector for row, vector in zip(prompts, head, strict=True)}
    missing = [key for key, known in zip(rows, vectors.get(space, list(rows))[1], strict=True) if not known]
    for batch in vectors.plan(space, missing, size=_SIZE):
        vectors.put(space, batch, np.stack([rows[key] for key in batch.keys]).astype(np.float32))


def _key(prompts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(prompts)).encode()).hexdigest()


def _facts(encoder: Encoder[Any], run: Run) -> dict[str, Any]:
    runner = run.engine.runner(encoder, run) if run.engine else None
    return {**space_facts(encoder, run, runner), "of": "class heads"}
