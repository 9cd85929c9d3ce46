"""Approximate search for large indexes with faiss: the nearest of k-means cells are searched, and recall is measured.

    folder/image-3.faiss        the quantised vectors of image-3.f32, mapped once a build and process
    folder/image-3.ann.json     number of covered slots, number of cells to search, and the measured recall

The results are candidates, which ``index.nearest`` scores again with the stored vectors. Later slots are searched
exactly, so an index may grow without a new build.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DamagedStore, DataError, MissingExtra, Run
from diptych.data.files import write_whole
from diptych.search_index.described import Vectors
from diptych.search_index.index import Index
from diptych.search_index.mapped import Mapped
from diptych.search_index.rows import Modality

EXACT = 200_000
"""Largest number of entries for exact search (our choice; 20 ms a query of width 512 on one core)."""
TOP = 10
"""Number of neighbours in the measured recall."""
_TRAIN = 256 * 2**20  # bytes of vectors for k-means
_LARGE = 4 * 2**30  # above these bytes, vectors are product codes instead of one byte a number
_ASKED = 100
_RECALL = 0.95
_MAPPED: Mapped[Any] = Mapped()


@dataclass(frozen=True)
class Approximate:
    """Description of an approximate index.

    Args:
        slots: number of covered vectors, the first ones.
        kind: faiss' name of its structure.
        nprobe: number of cells that a search reads.
        recall: kind of query -> share of the exact ten nearest among the candidates, measured at the build.
        queries: kind of query -> number of queries in the measurement.
        held_out: kind of query -> the same share for as many other queries, which did not choose ``nprobe``.
    """

    slots: int
    kind: str
    nprobe: int
    recall: Mapping[str, float]
    queries: Mapping[str, int]
    held_out: Mapping[str, float] = field(default_factory=dict)

    @property
    def stated(self) -> Mapping[str, float]:
        """The recall that is stated: on queries that did not choose ``nprobe``; earlier versions measured no others."""
        return self.held_out or self.recall


def build(index: Index, modality: Modality, run: Run, *, queries: Vectors | None = None) -> Approximate:
    """Build the approximate index of one modality, and choose the number of cells by measured recall.

    Args:
        index: an index with at least 1,000 slots of the modality.
        modality: modality of the vectors.
        run: seed and progress.
        queries: (Q, D) unit vectors of typical queries, such as texts, which are farther from images than images are.
            Half of them choose the number of cells: recall of the exact ten nearest, less its standard error, must
            reach 0.95 on them and on 100 vectors of the index, of which each is no neighbour of itself. The other half,
            and 100 other vectors, measure ``held_out``.

    Raises:
        MissingExtra: faiss is not installed.
        DataError: too few slots.
    """
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
    drawn = np.split(rng.permutation(rng.choice(n, 2 * _ASKED, replace=False)), 2)
    sampled = {"rows": [_Queries(stored, np.asarray(stored[half]), index.chunk, half) for half in drawn]}
    if queries is not None and len(queries) > 1:
        unit = np.ascontiguousarray(queries, dtype=np.float32)
        sampled["texts"] = [_Queries(stored, half, index.chunk) for half in (unit[::2], unit[1::2])]
    choosing, others = ({name: halves[i] for name, halves in sampled.items()} for i in (0, 1))
    nprobe = 1
    while True:
        quantised.nprobe = nprobe
        shares = {name: half.shares(quantised) for name, half in choosing.items()}
        if min(s.mean() - s.std() / len(s) ** 0.5 for s in shares.values()) >= _RECALL or nprobe >= cells:
            break
        nprobe = max(nprobe + 1, nprobe * 5 // 4)
    measured = {name: float(s.mean()) for name, s in shares.items()}
    held_out = {name: float(half.shares(quantised).mean()) for name, half in others.items()}
    counts = {name: len(s) for name, s in shares.items()}
    description = Approximate(n, kind, nprobe, measured, counts, held_out)
    index.index_facts()
    path = index.path(modality)
    write_whole(path.with_suffix(".faiss"), lambda draft: faiss.write_index(quantised, str(draft)), overwrite=True)
    # last: without it the other file counts for nothing
    write_whole(path.with_suffix(".ann.json"), json.dumps(asdict(description)), overwrite=True)
    return description


def about(index: Index, modality: Modality) -> Approximate | None:
    """Return the description of the approximate index of a modality; None where there is none.

    Raises:
        DamagedStore: its description is damaged.
    """
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


class _Queries:
    """Queries and the exact ten nearest of each.

    Args:
        stored: (n, D) vectors.
        queries: (Q, D) unit vectors.
        chunk: number of vectors at once.
        slots: (Q,) slots of the queries themselves, which do not count; None: they are not stored.
    """

    def __init__(self, stored: Vectors, queries: Vectors, chunk: int, slots: NDArray[np.int64] | None = None) -> None:
        self._queries = queries
        self._slots = np.full(len(queries), -1) if slots is None else slots
        nearest = exact_slots(stored, queries, TOP + 1, chunk)
        others = nearest != self._slots[:, None]
        others[others.all(1), -1] = False
        self._nearest = nearest[others].reshape(-1, TOP)

    def shares(self, quantised: Any) -> NDArray[np.float64]:
        """Return the (Q,) shares of the ten nearest that are candidates of an approximate search."""
        rows = zip(self._nearest, quantised.search(self._queries, 4 * TOP)[1], strict=True)
        return np.array([np.isin(nearest, row).mean() for nearest, row in rows])


def exact_slots(stored: Vectors, queries: Vectors, k: int, chunk: int) -> NDArray[np.int64]:
    """Return the (Q, k) slots of the k nearest of each query among all vectors, ``chunk`` at a time."""
    best = np.full((len(queries), k), -np.inf, dtype=np.float32)
    slots = np.full((len(queries), k), -1, dtype=np.int64)
    for start in range(0, len(stored), chunk):
        scores = queries @ np.asarray(stored[start : start + chunk]).T
        both = np.concatenate([best, scores], axis=1)
        top = np.argpartition(-both, k - 1, axis=1)[:, :k]
        numbers = np.broadcast_to(np.arange(start, start + scores.shape[1]), scores.shape)
        slots = np.take_along_axis(np.concatenate([slots, numbers], axis=1), top, 1)
        best = np.take_along_axis(both, top, 1)
    return np.take_along_axis(slots, np.argsort(-best, axis=1, kind="stable"), 1)


def installed() -> bool:
    """Return whether faiss can be imported."""
    import importlib.util

    return importlib.util.find_spec("faiss") is not None


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise MissingExtra("faiss-cpu", "index", "Approximate search") from None
    return faiss
