"""Search among vectors of which a condition keeps 1 %: our index, FAISS alone, and LanceDB."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Row, optional
from diptych.core import Run
from diptych.search_index import ann
from diptych.search_index.index import Index
from diptych.search_index.nearest import nearest
from diptych.search_index.rows import Entry
from diptych.search_index.where import Condition

LABELS, TOP, QUERIES = 100, 10, 50
"""Values of the condition's column, evenly often; neighbours; queries of a call."""
ENOUGH = 0.95
"""Recall that the number of cells of FAISS is chosen for, on other queries; our index asks the same of itself."""
OURS, IVF, FLAT, LANCE = "diptych index", "FAISS IVF,SQ8 with a selector", "FAISS flat with a selector", "LanceDB"


def vectors(count: int, dim: int, rng: np.random.Generator, shape: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return unit vectors round centres, which differ by few directions and a little noise, as embeddings do."""
    centres, directions = shape
    out = np.empty((count, dim), np.float32)
    for start in range(0, count, 50_000):
        part = out[start : start + 50_000]
        z = (
            centres[rng.integers(len(centres), size=len(part))]
            + rng.normal(size=(len(part), len(directions))) @ directions
        )
        z += rng.normal(size=z.shape) * 0.3 / np.sqrt(dim)
        part[:] = z / np.linalg.norm(z, axis=1, keepdims=True)
    return out


def size_of(folder: Path) -> float:
    """Return the MiB of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


class Faiss:
    """FAISS's own index with a selector of the ids that meet the condition."""

    def __init__(self, stored: np.ndarray, labels: np.ndarray, kind: str) -> None:
        import faiss

        self.faiss, self.labels, self.nprobe = faiss, labels, 1
        self.index = faiss.index_factory(stored.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        rng = np.random.default_rng(0)
        self.index.train(stored[np.sort(rng.choice(len(stored), min(len(stored), 128 * 2**10), replace=False))])
        self.index.add(stored)

    def near(self, query: np.ndarray, label: int) -> list[int]:
        """Return the ids of the neighbours."""
        selector = self.faiss.IDSelectorBatch(np.flatnonzero(self.labels == label))
        if isinstance(self.index, self.faiss.IndexIVF):
            how = self.faiss.SearchParametersIVF(sel=selector, nprobe=self.nprobe)
        else:
            how = self.faiss.SearchParameters(sel=selector)
        ids: list[int] = self.index.search(query[None], TOP, params=how)[1][0].tolist()
        return ids

    def tuned(self, queries: np.ndarray, labels: np.ndarray, truth: list[list[int]]) -> None:
        """Double the cells that are looked at until enough neighbours are found."""
        while recall([self.near(q, int(c)) for q, c in zip(queries, labels, strict=True)], truth) < ENOUGH:
            if self.nprobe >= self.index.nlist:
                return
            self.nprobe *= 2


def lance(folder: Path, stored: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray, int], list[int]]:
    """Build LanceDB's IVF_HNSW_SQ and a bitmap of the labels; what it finds is refined on four times as many."""
    import lancedb
    import pyarrow as pa

    flat = pa.FixedSizeListArray.from_arrays(pa.array(stored.reshape(-1)), stored.shape[1])
    rows = pa.table({"id": np.arange(len(stored)), "label": labels, "vector": flat})
    table = lancedb.connect(folder).create_table("vectors", rows)
    table.create_index(metric="dot", index_type="IVF_HNSW_SQ")
    table.create_scalar_index("label", index_type="BITMAP")

    def near(query: np.ndarray, label: int) -> list[int]:
        search = table.search(query).distance_type("dot").where(f"label = {label}", prefilter=True)
        ids: list[int] = search.limit(TOP).refine_factor(4).select(["id", "_distance"]).to_arrow()["id"].to_pylist()
        return ids

    return near


def ours(folder: Path, stored: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray, int], list[int]]:
    """Build our index with its approximate part, as ``diptych index --ann`` does."""
    facts = {"dim": stored.shape[1], "fingerprint": "bench", "backbone": "bench"}
    index = Index.create(folder, facts)
    for start in range(0, len(stored), 4096):
        part = stored[start : start + 4096]
        names = [Entry(f"{i}", facts={"label": int(labels[i])}) for i in range(start, start + len(part))]
        index.add(names, {"image": (np.arange(len(part)), part)})
    ann.build(index, "image", Run())

    def near(query: np.ndarray, label: int) -> list[int]:
        nearest_entries = nearest(index, query, TOP, {"image": 1.0}, where=[Condition("label", "=", str(label))])
        return [int(f.entry.name) for f in nearest_entries]

    return near


def recall(answers: list[list[int]], truth: list[list[int]]) -> float:
    """Return the share of the true neighbours that were found."""
    return float(np.mean([len(set(a) & set(b)) / TOP for a, b in zip(answers, truth, strict=True)]))


@contextlib.contextmanager
def filtered(count: int, dim: int) -> Iterator[Row]:
    """Queries a second under a condition that keeps 1 %; among the facts are recall, bytes, and seconds of the
    processor, over all threads, which other work on the machine does not change.
    """
    rng = np.random.default_rng(0)
    shape = rng.normal(size=(256, dim)) / np.sqrt(dim), rng.normal(size=(32, dim)) / np.sqrt(32 * dim)
    stored, labels = vectors(count, dim, rng, shape), rng.integers(LABELS, size=count)
    queries, wanted = vectors(2 * QUERIES, dim, rng, shape), rng.integers(LABELS, size=2 * QUERIES)
    truth = []
    for query, label in zip(queries, wanted, strict=True):
        rows = np.flatnonzero(labels == label)
        truth.append(rows[np.argsort(-(stored[rows] @ query), kind="stable")[:TOP]].tolist())

    missing: dict[str, str] = {}
    near: dict[str, Callable[[np.ndarray, int], list[int]]] = {}
    facts: dict[str, dict[str, Any]] = {}

    def take(name: str, make: Callable[[Path], Callable[[np.ndarray, int], list[int]]]) -> None:
        start, folder = time.process_time(), Path(place) / str(len(near))
        near[name] = make(folder)
        facts[name] = {"build_cpu_seconds": time.process_time() - start, "mib": size_of(folder)}

    def written(folder: Path, kind: str) -> Callable[[np.ndarray, int], list[int]]:
        index = Faiss(stored, labels, kind)
        folder.mkdir()
        index.faiss.write_index(index.index, str(folder / "index.faiss"))
        if "IVF" in kind:
            index.tuned(queries[QUERIES:], wanted[QUERIES:], truth[QUERIES:])
        return index.near

    with tempfile.TemporaryDirectory(prefix="bench-filtered-") as place:
        take(OURS, partial(ours, stored=stored, labels=labels))
        with optional(missing, IVF):
            take(IVF, partial(written, kind=f"IVF{max(16, int(4 * count**0.5))},SQ8"))
            take(FLAT, partial(written, kind="Flat"))
        with optional(missing, LANCE):
            import lancedb  # noqa: F401

            take(LANCE, partial(lance, stored=stored, labels=labels))

        def call(name: str) -> list[list[int]]:
            return [near[name](q, int(c)) for q, c in zip(queries[:QUERIES], wanted[:QUERIES], strict=True)]

        for name in near:
            call(name)
            start = time.process_time()
            found_ids = call(name)
            facts[name]["query_cpu_ms"] = 1000 * (time.process_time() - start) / QUERIES
            facts[name]["recall@10"] = recall(found_ids, truth[:QUERIES])
        calls = {name: partial(call, name) for name in near}
        yield Row(
            calls,
            QUERIES,
            "queries",
            same=None,
            facts={"vectors": [count, dim], "kept_share": 1 / LABELS, "index": facts},
            missing=missing,
            rounds=3,
        )
