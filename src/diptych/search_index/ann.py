"""Approximate search for large indexes, by faiss: k-means cells, the nearest of which are looked at; recall is
measured, not assumed.

    folder/image-3.faiss        the quantised vectors of image-3.f32, mapped when searched
    folder/image-3.ann.json     how many slots it covers, cells to look at, and the measured recall

Its answers are candidates only: ``index.nearest`` scores them again with the stored vectors. Slots behind those covered
are searched exactly, so an index may grow for a while without being built anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core.errors import DamagedStore, DataError, MissingExtra
from diptych.core.run import Run
from diptych.data.files import write_whole
from diptych.search_index.index import Index, Vectors
from diptych.search_index.rows import Modality

EXACT = 200_000
"""Entries up to which search is exact (ours; 33 ms a query of width 512 on one core)."""
TOP = 10
"""Neighbours whose recall is measured."""
_TRAIN = 256 * 2**20  # bytes of vectors that k-means sees
_LARGE = 4 * 2**30  # bytes from which on vectors are stored as product codes instead of one byte a number
_ASKED = 100


@dataclass(frozen=True)
class Approximate:
    """What is known of an approximate index.

    Args:
        slots: vectors it covers, the first ones.
        kind: faiss' name of its structure.
        nprobe: cells that a search looks at.
        recall: kind of query -> share of the exact ten nearest that are among the candidates, measured when it was
            built.
        queries: kind of query -> how many were asked.
    """

    slots: int
    kind: str
    nprobe: int
    recall: Mapping[str, float]
    queries: Mapping[str, int]


def build(
    index: Index, modality: Modality, run: Run, *, queries: Vectors | None = None, recall: float = 0.95
) -> Approximate:
    """Build the approximate index of one modality, and choose the cells to look at by measured recall.

    Args:
        index: at least 1,000 slots of the modality.
        modality: whose vectors.
        run: seed and progress.
        queries: (Q, D) unit vectors as users ask them, such as texts: they lie farther from images than images do.
            Recall is measured on them and on 100 vectors of the index, and must suffice on both.
        recall: wanted share of the exact ten nearest.

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
    made = faiss.index_factory(dim, kind, faiss.METRIC_INNER_PRODUCT)
    seen = min(n, 64 * cells, max(cells, _TRAIN // (4 * dim)))
    made.train(np.asarray(stored[np.sort(rng.choice(n, seen, replace=False))]))
    with run.track("build", n) as bar:
        for start in range(0, n, index.chunk):
            part = np.asarray(stored[start : start + index.chunk])
            made.add(part)
            bar.advance(len(part))
    asked = {"rows": np.asarray(stored[np.sort(rng.choice(n, _ASKED, replace=False))])}
    if queries is not None and len(queries):
        asked["texts"] = np.ascontiguousarray(queries, dtype=np.float32)
    truth = {name: exact_slots(stored, q, TOP, index.chunk) for name, q in asked.items()}
    nprobe, measured = 1, dict[str, float]()
    while True:
        made.nprobe = nprobe
        for name, q in asked.items():
            found = made.search(q, 4 * TOP)[1]
            measured[name] = float(np.mean([np.isin(t, f).mean() for t, f in zip(truth[name], found, strict=True)]))
        if min(measured.values()) >= recall or nprobe >= cells:
            break
        nprobe *= 2
    about = Approximate(n, kind, nprobe, measured, {name: len(q) for name, q in asked.items()})
    path = index.path(modality)
    write_whole(path.with_suffix(".faiss"), lambda draft: faiss.write_index(made, str(draft)), overwrite=True)
    # last: without it the other file counts for nothing
    write_whole(path.with_suffix(".ann.json"), json.dumps(asdict(about)), overwrite=True)
    return about


def about(index: Index, modality: Modality) -> Approximate | None:
    """Return what is known of the approximate index of a modality; None where there is none.

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
            f"{path} is damaged: build it again with 'diptych index --out {index.folder} --ann'."
        ) from None


def candidates(index: Index, modality: Modality, known: Approximate, query: Vectors, k: int) -> NDArray[np.int64]:
    """Return up to k slots near a (D,) query, best first.

    Raises:
        MissingExtra: faiss is not installed.
        DamagedStore: the file is damaged.
    """
    faiss = _faiss()
    path = index.path(modality).with_suffix(".faiss")
    try:
        made = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    except RuntimeError:
        raise DamagedStore(
            f"{path} is damaged: build it again with 'diptych index --out {index.folder} --ann'."
        ) from None
    found = made.search(query[None].astype(np.float32), k, params=faiss.SearchParametersIVF(nprobe=known.nprobe))[1][0]
    return np.asarray(found[found >= 0], dtype=np.int64)


def exact_slots(stored: Vectors, queries: Vectors, k: int, chunk: int) -> NDArray[np.int64]:
    """Return the (Q, k) slots of the k nearest of each query, by looking at all vectors, ``chunk`` at a time."""
    best = np.full((len(queries), k), -np.inf, dtype=np.float32)
    slots = np.full((len(queries), k), -1, dtype=np.int64)
    for start in range(0, len(stored), chunk):
        scores = queries @ np.asarray(stored[start : start + chunk]).T
        both = np.concatenate([best, scores], axis=1)
        top = np.argpartition(-both, k - 1, axis=1)[:, :k]
        own = np.broadcast_to(np.arange(start, start + scores.shape[1]), scores.shape)
        slots = np.take_along_axis(np.concatenate([slots, own], axis=1), top, 1)
        best = np.take_along_axis(both, top, 1)
    return np.take_along_axis(slots, np.argsort(-best, axis=1, kind="stable"), 1)


def installed() -> bool:
    """Whether faiss can be imported."""
    import importlib.util

    return importlib.util.find_spec("faiss") is not None


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise MissingExtra("faiss-cpu", "index", "Approximate search") from None
    return faiss
