"""Search among all vectors of an index: ours, exact and approximate, and FAISS's flat, HNSW and IVF indexes."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.filtered import ENOUGH, QUERIES, TOP, recall, size_of, vectors
from benchmarks.measure import Row, Target
from diptych.core import Run
from diptych.search_index import ann
from diptych.search_index.index import Index
from diptych.search_index.nearest import nearest
from diptych.search_index.rows import Entry

EXACT, APPROXIMATE = "diptych index, exact", "diptych index, approximate"
FAISS = {"FAISS flat": "Flat", "FAISS HNSW": "HNSW32", "FAISS IVF,SQ8": "IVF{cells},SQ8"}
Near = Callable[[np.ndarray], list[int]]


def ours(folder: Path, stored: np.ndarray, approximate: bool) -> Near:
    """Build our index, with its approximate part as ``diptych index --ann`` does, or without."""
    index = Index.create(folder, {"dim": stored.shape[1], "fingerprint": "bench", "backbone": "bench"})
    for start in range(0, len(stored), 4096):
        part = stored[start : start + 4096]
        index.add([Entry(f"{start + i}") for i in range(len(part))], {"image": (np.arange(len(part)), part)})
    if approximate:
        ann.build(index, "image", Run())

    def near(query: np.ndarray) -> list[int]:
        return [int(f.entry.name) for f in nearest(index, query, TOP, {"image": 1.0}, exact=not approximate)]

    return near


def faiss_index(folder: Path, stored: np.ndarray, kind: str, queries: np.ndarray, truth: list[list[int]]) -> Near:
    """Build one of FAISS's own indexes; what it looks at is doubled until it finds enough neighbours of the queries."""
    import faiss

    index = faiss.index_factory(stored.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    rng = np.random.default_rng(0)
    index.train(stored[np.sort(rng.choice(len(stored), min(len(stored), 128 * 2**10), replace=False))])
    index.add(stored)
    folder.mkdir()
    faiss.write_index(index, str(folder / "index.faiss"))

    def near(query: np.ndarray) -> list[int]:
        ids: list[int] = index.search(query[None], TOP)[1][0].tolist()
        return ids

    setting, most = ("nprobe", len(stored)) if "IVF" in kind else ("efSearch", 4096)
    settings = faiss.ParameterSpace()
    for value in (2**n for n in range(4, 13)):
        if kind == "Flat" or value > most:
            break
        settings.set_index_parameter(index, setting, value)
        if recall([near(query) for query in queries], truth) >= ENOUGH:
            break
    return near


@contextlib.contextmanager
def neighbours(count: int, dim: int) -> Iterator[Row]:
    """Queries a second, one at a time; among the facts are recall, bytes, and seconds of the processor, over all
    threads, which other work on the machine does not change.
    """
    rng = np.random.default_rng(0)
    shape = rng.normal(size=(256, dim)) / np.sqrt(dim), rng.normal(size=(32, dim)) / np.sqrt(32 * dim)
    stored = vectors(count, dim, rng, shape)
    queries = vectors(2 * QUERIES, dim, rng, shape)
    truth = [np.argsort(-(stored @ query), kind="stable")[:TOP].tolist() for query in queries]
    chosen = queries[QUERIES:], truth[QUERIES:]
    builders: dict[str, Callable[[Path], Near]] = {
        EXACT: partial(ours, stored=stored, approximate=False),
        APPROXIMATE: partial(ours, stored=stored, approximate=True),
    }
    for name, kind in FAISS.items():
        cells = max(16, int(4 * count**0.5))
        builders[name] = partial(
            faiss_index, stored=stored, kind=kind.format(cells=cells), queries=chosen[0], truth=chosen[1]
        )
    near: dict[str, Near] = {}
    facts: dict[str, dict[str, Any]] = {}

    def call(name: str) -> list[list[int]]:
        return [near[name](query) for query in queries[:QUERIES]]

    def spent(one: str, other: str) -> float:
        return float(facts[one]["query_cpu_ms"] / facts[other]["query_cpu_ms"])

    with tempfile.TemporaryDirectory(prefix="bench-neighbours-") as place:
        for number, (name, build) in enumerate(builders.items()):
            start = time.process_time()
            near[name] = build(Path(place) / str(number))
            facts[name] = {"build_cpu_seconds": time.process_time() - start, "mib": size_of(Path(place) / str(number))}
            call(name)
            start = time.process_time()
            ids = call(name)
            facts[name]["query_cpu_ms"] = 1000 * (time.process_time() - start) / QUERIES
            facts[name]["recall@10"] = recall(ids, truth[:QUERIES])
        yield Row(
            {name: partial(call, name) for name in near},
            QUERIES,
            "queries",
            same=None,
            facts={"vectors": [count, dim], "index": facts},
            targets=(
                Target("processor seconds, FAISS flat / exact", lambda _: spent("FAISS flat", EXACT), 0.91),
                Target("processor seconds, FAISS HNSW / approximate", lambda _: spent("FAISS HNSW", APPROXIMATE), 0.67),
            ),
            rounds=3,
        )
