"""Approximate search for large indexes with faiss: the nearest of k-means cells are searched, and recall is measured.

    folder/image-3.faiss        the quantised vectors of image-3.f32, mapped once a build and process
    folder/image-3.ann.json     number of covered slots, number of cells to search, and the measured recall

The results are candidates, which ``index.nearest`` scores again with the stored vectors. Later slots are searched
exactly, so an index may grow without a new build.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DamagedStore, DataError, Run
from diptych.core.errors import need_extra
from diptych.data.files import write_whole
from diptych.search_index.database_index import DatabaseIndex
from diptych.search_index.described import Vectors
from diptych.search_index.index import Index
from diptych.search_index.mapped import Mapped
from diptych.search_index.recall import DRAWN, TOP, Approximate, Queries, measured, nearest_of
from diptych.search_index.rows import Modality

_TRAIN = 256 * 2**20  # bytes of vectors for k-means
_LARGE = 4 * 2**30  # above these bytes, vectors are product codes instead of one byte a number
_MAPPED: Mapped[Any] = Mapped()


def build(index: Index | DatabaseIndex, modality: Modality, run: Run, *, queries: Vectors | None = None) -> Approximate:
    """Build the approximate index of one modality, and choose the number of cells by measured recall.

    Args:
        index: an index with at least 1,000 slots of the modality; that of a database builds its structure itself.
        modality: modality of the vectors.
        run: seed and progress.
        queries: (Q, D) unit vectors of typical queries, such as texts, which are farther from images than images are.
            Half of them choose the number of cells: recall of the exact ten nearest, less its standard error, must
            reach 0.95 on them and on 100 vectors of the index, of which each is no neighbour of itself. The other half,
            and 100 other vectors, measure ``held_out``.

    Raises:
        MissingExtra: faiss is not installed.
        DataError: too few slots, or a database finds too few of the nearest.
    """
    if isinstance(index, DatabaseIndex):
        return index.approximate(modality, run, queries=queries)
    faiss = _faiss()
    stored = index.vectors(modality)
    n, dim = stored.shape
    if n < 1000:
        raise DataError(
            f"{index.folder} holds {n} {modality} vectors, and an approximate index pays from 1,000 on: search exactly."
        )
    rng = np.random.default_rng(run.integer("ann"))
    cells = max(16, min(65536, int(4 * n**0.5)))
    kind = f"IVF{cells},SQ8" if n * dim <= _LARGE else f"IVF{cells},PQ{max(m for m in range(1, 97) if dim % m == 0)}"
    quantised = faiss.index_factory(dim, kind, faiss.METRIC_INNER_PRODUCT)
    sample = min(n, 64 * cells, max(cells, _TRAIN // (4 * dim)))
    quantised.train(np.asarray(stored[np.sort(rng.choice(n, sample, replace=False))]))
    with run.track("build", n) as bar:
        for start in range(0, n, index.chunk):
            part = np.asarray(stored[start : start + index.chunk])
            quantised.add(part)
            bar.advance(len(part))
    drawn = rng.permutation(rng.choice(n, 2 * DRAWN, replace=False))
    rows = np.asarray(stored[drawn])
    sampled = {"rows": Queries.of(rows, exact_slots(stored, rows, TOP + 1, index.chunk), drawn)}
    if queries is not None and len(queries) > 1:
        unit = np.ascontiguousarray(queries, dtype=np.float32)
        sampled["texts"] = Queries.of(unit, exact_slots(stored, unit, TOP + 1, index.chunk))

    def search(values: Vectors, nprobe: int) -> NDArray[np.int64]:
        quantised.nprobe = nprobe
        slots: NDArray[np.int64] = quantised.search(values, 4 * TOP)[1]
        return slots

    description = measured(n, kind, sampled, search, _efforts(cells))
    index.index_facts()
    path = index.path(modality)
    write_whole(path.with_suffix(".faiss"), lambda draft: faiss.write_index(quantised, str(draft)), overwrite=True)
    # last: without it the other file counts for nothing
    write_whole(path.with_suffix(".ann.json"), json.dumps(asdict(description)), overwrite=True)
    return description


def about(index: Index | DatabaseIndex, modality: Modality) -> Approximate | None:
    """Return the description of the approximate index of a modality; None where there is none.

    Raises:
        DamagedStore: its description is damaged.
    """
    if isinstance(index, DatabaseIndex):
        return index.about(modality)
    path = index.path(modality).with_suffix(".ann.json")
    try:
        return Approximate(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise DamagedStore(
            f"{path} is damaged: build it again with 'diptych index --out {shlex.quote(str(index.folder))} --ann'."
        ) from None


def candidates(index: Index, modality: Modality, description: Approximate, query: Vectors, k: int) -> NDArray[np.int64]:
    """Return up to k slots near a (D,) query, best first.

    Raises:
        MissingExtra: faiss is not installed.
        DamagedStore: the file is damaged.
    """
    faiss = _faiss()
    path = index.path(modality).with_suffix(".faiss")
    try:
        quantised = _MAPPED.opened(path, None, lambda: _opened(path))
    except (RuntimeError, OSError):
        raise DamagedStore(
            f"{path} is damaged: build it again with 'diptych index --out {shlex.quote(str(index.folder))} --ann'."
        ) from None
    slots = quantised.search(
        query[None].astype(np.float32), k, params=faiss.SearchParametersIVF(nprobe=description.nprobe)
    )[1][0]
    return np.asarray(slots[slots >= 0], dtype=np.int64)


def _opened(path: Path) -> Any:
    faiss = _faiss()
    quantised = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    # else each search starts up to 32 threads that read ahead: seven times the search itself where pages are in memory
    faiss.downcast_InvertedLists(quantised.invlists).prefetch_nthread = 0
    return quantised


def _efforts(cells: int) -> Iterator[int]:
    nprobe = 1
    while nprobe < cells:
        yield nprobe
        nprobe = max(nprobe + 1, nprobe * 5 // 4)
    yield cells


def exact_slots(stored: Vectors, queries: Vectors, k: int, chunk: int) -> NDArray[np.int64]:
    """Return the (Q, k) slots of the k nearest of each query among all vectors, ``chunk`` at a time."""
    starts = range(0, len(stored), chunk)
    return nearest_of(
        ((np.arange(s, min(s + chunk, len(stored))), np.asarray(stored[s : s + chunk])) for s in starts), queries, k
    )


def installed() -> bool:
    """Return whether faiss can be imported."""
    import importlib.util

    return importlib.util.find_spec("faiss") is not None


def _faiss() -> Any:
    need_extra("index", "Approximate search")
    import faiss

    return faiss
