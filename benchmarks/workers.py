"""The same shards planned by one and by two workers of a local Ray cluster: seconds and processor seconds a shard."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.curate import alt_texts
from benchmarks.measure import Row, Target
from diptych.core import Kit, Run, Stream
from diptych.data.words.metaclip_entries import entries
from diptych.data.words.textlines import open_lines
from diptych.methods.curate.metaclip import MetaCLIP
from diptych.tasks.cluster import Cluster, Home, Shared, each
from diptych.tasks.curate.shards import Order, plan_shard


def timed(order: Shared[Order], shard: Stream[Any], place: Path) -> tuple[int, float, float]:
    """Plan over a shard; return the worker's process, seconds and processor seconds. On a worker."""
    start, before = time.perf_counter(), time.process_time()
    plan_shard(order, shard, place)
    return os.getpid(), time.perf_counter() - start, time.process_time() - before


def planned(workers: int, shards: list[Stream[Any]], folder: Path) -> tuple[dict[str, float], np.ndarray]:
    """Plan over all shards twice, and return what the second time took, when all workers are ready, and the counts."""
    curator, places = MetaCLIP(), [folder / f"plan-{number}" for number in range(len(shards))]
    with Cluster(f"local:{workers}") as pool:
        order = pool.share(Order(curator, Kit, Run(workers=1), None, Home.here()))
        for _ in range(2):
            start = time.perf_counter()
            parts = [(order, shard, place) for shard, place in zip(shards, places, strict=True)]
            done = [result for _, result in each(pool, timed, parts)]
            whole = time.perf_counter() - start
    of_each = Counter(process for process, _, _ in done)
    facts = {
        "seconds": whole, "seconds_a_shard": mean(wall for _, wall, _ in done),
        "cpu_seconds_a_shard": mean(cpu for _, _, cpu in done), "processes": len(of_each),
        "most_shards_of_one": max(of_each.values()),
    }  # fmt: skip
    counts: np.ndarray = reduce(lambda a, b: a.merge(b), map(curator.read_plan, places)).counts
    return facts, counts


@contextlib.contextmanager
def planning(texts: int, count: int) -> Iterator[Row]:
    """MetaCLIP's counts of some texts in shards; the row fails where they depend on the number of workers."""
    with tempfile.TemporaryDirectory(prefix="bench-workers-") as place:
        pool = Path(place) / "pool.txt"
        with pool.open("w", encoding="utf-8") as file:
            file.writelines(f"{text}\n" for text in alt_texts(texts, 0, entries("wordnet")))
        shards: list[Stream[Any]] = list(open_lines(pool).shards(count))
        (one, alone), (two, both) = (planned(workers, shards, Path(place)) for workers in (1, 2))
    if not np.array_equal(alone, both):
        raise ValueError("two workers count other texts than one")
    facts = {"texts": texts, "shards": len(shards), "workers": {"1 worker": one, "2 workers": two}}
    targets = (
        Target("shards a second, 2 workers / 1 worker", lambda _: one["seconds"] / two["seconds"], 1.9),
        Target(
            "processor seconds a shard, 2 workers / 1 worker",
            lambda _: two["cpu_seconds_a_shard"] / one["cpu_seconds_a_shard"],
            1.1,
            least=False,
        ),
    )
    yield Row({}, texts, "texts", facts=facts, targets=targets)
