"""Where ``embed`` looks vectors up and keeps them: the run's own store, a shared one that is only read, or memory."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diptych.core import Run
from diptych.store.folder import space_id
from diptych.store.places import Numbers, Placed
from diptych.store.plans import Batch
from diptych.store.store import Store


class Vectors(Protocol):
    """The verbs of ``Store`` that ``embed`` uses."""

    def space(self, facts: Mapping[str, Any]) -> str:
        """Return the id of a space."""

    def get(self, space: str, keys: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return (N, D) values and (N,) found."""

    def placed(self, space: str, source: str) -> Placed | None:
        """Return the vectors of a block of a pool; None where they must be looked up by key."""

    def place(self, space: str, source: str, keys: Sequence[str]) -> None:
        """Note where the vectors of a block of a pool lie."""

    def noted(self, space: str, source: str) -> Mapping[str, Numbers]:
        """Return the numbers that were noted under a source, by source."""

    def note(self, space: str, numbers: Mapping[str, Numbers]) -> None:
        """Note numbers of the pairs of blocks, by source."""

    def known(self, space: str, keys: Sequence[str]) -> NDArray[np.bool_]:
        """Return (N,) whether keys have vectors, unread."""

    def failures(self, space: str) -> Mapping[str, str]:
        """Return key -> reason."""

    def finished(self, space: str, batch: Batch) -> bool:
        """Tell whether a batch is done."""

    def plan(self, space: str, keys: Sequence[str], *, size: int, within: Collection[str] | None = None) -> list[Batch]:
        """Return the batches to encode."""

    def put(
        self, space: str, batch: Batch, values: NDArray[np.float32], failed: Mapping[str, str] | None = None
    ) -> None:
        """Keep a batch."""


def open_vectors(run: Run) -> Vectors:
    """Return what a run looks up in and writes to: the shared cache is read first and never written.

    Raises:
        UsageError: the shared cache does not exist, or a cache has a schema that cannot be read.
        DiptychError: a cache folder cannot be used.
    """
    private: Vectors
    if run.cache is None:
        private = Unstored(None)
    elif run.cache.is_dir() and not os.access(run.cache, os.W_OK):
        private = Unstored(Store(run.cache, read_only=True))
    else:
        private = Store(run.cache)
    return private if run.shared_cache is None else Layered(Store(run.shared_cache, read_only=True), private)


def shared_vectors(run: Run) -> Vectors | None:
    """Return what many calls of ``embed`` in a row look up in and write to, so that the store is read once.

    None where vectors are kept in memory, which must go with each call. Errors are those of ``open_vectors``.
    """
    vectors = open_vectors(run)
    plain = vectors._writable if isinstance(vectors, Layered) else vectors
    return None if isinstance(plain, Unstored) else vectors


class Layered:
    """A store that is read first and never written, before another one."""

    def __init__(self, shared: Store, writable: Vectors) -> None:
        self._shared, self._writable = shared, writable

    def space(self, facts: Mapping[str, Any]) -> str:
        """Open a space in both."""
        self._shared.space(facts)
        return self._writable.space(facts)

    def get(self, space: str, keys: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Look up N keys, first in the shared store: (N, D) float32 values and (N,) found."""
        values, stored = self._shared.get(space, keys)
        rest = np.flatnonzero(~stored)
        values[rest], stored[rest] = self._writable.get(space, [keys[int(i)] for i in rest])
        return values, stored

    def placed(self, space: str, source: str) -> Placed | None:
        """Return the vectors of a block of a pool that one of the stores has all of."""
        return self._writable.placed(space, source) or self._shared.placed(space, source)

    def place(self, space: str, source: str, keys: Sequence[str]) -> None:
        """Note the block where the own store has all of it."""
        if self._writable.known(space, keys).all():
            self._writable.place(space, source, keys)

    def noted(self, space: str, source: str) -> Mapping[str, Numbers]:
        """Return the numbers that one of the stores has."""
        return self._writable.noted(space, source) or self._shared.noted(space, source)

    def note(self, space: str, numbers: Mapping[str, Numbers]) -> None:
        """Note numbers in the own store."""
        self._writable.note(space, numbers)

    def known(self, space: str, keys: Sequence[str]) -> NDArray[np.bool_]:
        """Tell of N keys whether either store has them."""
        return self._shared.known(space, keys) | self._writable.known(space, keys)

    def failures(self, space: str) -> Mapping[str, str]:
        """Return the failures of the own store: what another person could not read is tried here."""
        return self._writable.failures(space)

    def finished(self, space: str, batch: Batch) -> bool:
        """Tell whether a batch is in the own store."""
        return self._writable.finished(space, batch)

    def plan(self, space: str, keys: Sequence[str], *, size: int, within: Collection[str] | None = None) -> list[Batch]:
        """Plan in the own store."""
        return self._writable.plan(space, keys, size=size, within=within)

    def put(
        self, space: str, batch: Batch, values: NDArray[np.float32], failed: Mapping[str, str] | None = None
    ) -> None:
        """Keep in the own store."""
        self._writable.put(space, batch, values, failed)


class Unstored:
    """The store of a run that may not write: answers from the read-only store, and keeps the rest for this call."""

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._rows: dict[tuple[str, str], NDArray[np.float32]] = {}
        self._dims: dict[str, int] = {}

    def space(self, facts: Mapping[str, Any]) -> str:
        """Return the id of a space."""
        space = self._store.space(facts) if self._store else space_id(facts)
        self._dims[space] = int(facts["dim"])
        return space

    def get(self, space: str, keys: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Look up N keys: (N, D) float32 values and (N,) found."""
        if self._store:
            values, stored = self._store.get(space, keys)
        else:
            values, stored = np.zeros((len(keys), self._dims[space]), dtype=np.float32), np.zeros(len(keys), dtype=bool)
        for i, key in enumerate(keys):
            row = self._rows.get((space, key))
            if row is not None:
                values[i], stored[i] = row, True
        return values, stored

    def placed(self, space: str, source: str) -> Placed | None:
        """Return the vectors of a block of a pool that the read-only store has noted."""
        return self._store.placed(space, source) if self._store else None

    def place(self, space: str, source: str, keys: Sequence[str]) -> None:
        """Note nothing."""

    def noted(self, space: str, source: str) -> Mapping[str, Numbers]:
        """Return the numbers that the read-only store has."""
        return self._store.noted(space, source) if self._store else {}

    def note(self, space: str, numbers: Mapping[str, Numbers]) -> None:
        """Note nothing."""

    def known(self, space: str, keys: Sequence[str]) -> NDArray[np.bool_]:
        """Tell of N keys whether they have vectors."""
        here = np.asarray([(space, key) in self._rows for key in keys], dtype=bool)
        return here | self._store.known(space, keys) if self._store else here

    def failures(self, space: str) -> Mapping[str, str]:
        """Return the failures of the read-only store."""
        return self._store.failures(space) if self._store else {}

    def finished(self, space: str, batch: Batch) -> bool:
        """Tell that nobody else finishes a batch."""
        return False

    def plan(self, space: str, keys: Sequence[str], *, size: int, within: Collection[str] | None = None) -> list[Batch]:
        """Cut the keys into batches."""
        return [Batch("", tuple(keys[i : i + size])) for i in range(0, len(keys), size)]

    def put(
        self, space: str, batch: Batch, values: NDArray[np.float32], failed: Mapping[str, str] | None = None
    ) -> None:
        """Keep the vectors of a batch in memory."""
        readable = [k for k in batch.keys if k not in (failed or {})]
        self._rows.update({(space, k): row for k, row in zip(readable, values, strict=True)})
