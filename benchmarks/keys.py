"""Duplicates among keys that nobody holds in memory: plans of parts, their merged plan, and a verdict for every key.

    python -m benchmarks.keys COUNT

Keys come from a generator: every tenth pair has the words of an earlier one, so the number of first ones is known. A
key is what ``curate --method caption-checks`` keeps of a text: a hash of its words and the id of the pair.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import reduce
from pathlib import Path

import numpy as np

from benchmarks.measure import Row, Target
from diptych.data.sorted_runs import RunWriter
from diptych.features.first_of_texts import LAYOUT, FirstOfTexts, read_first

PARTS, CHUNK, ASKED = 16, 65_536, 2**20
"""Parts that are planned one after the other, as shards are; pairs of a chunk; pairs that are judged at a time."""
ODD = np.uint64(0x9E3779B97F4A7C15)


def chunks(start: int, stop: int, distinct: int, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield hashes and ids of the pairs ``start`` to ``stop``; pair i has the words of pair i % distinct."""
    for first in range(start, stop, size):
        ids = np.arange(first, min(first + size, stop), dtype=np.uint64)
        yield (ids % np.uint64(distinct) * ODD) << np.uint64(1), ids  # the lowest bit of a text's hash is 0


def planned(folder: Path, count: int) -> dict[str, float]:
    """Plan in parts, merge, and ask for every pair; return seconds, bytes of the plan and peak memory in MiB.

    Raises:
        ValueError: not exactly one pair of each group is the first.
    """
    distinct, facts, start = count * 9 // 10, dict[str, float](), time.perf_counter()
    for part in range(PARTS):
        writer = RunWriter(LAYOUT)
        for hashes, ids in chunks(count * part // PARTS, count * (part + 1) // PARTS, distinct, CHUNK):
            writer.add({"hash": hashes, "id": ids})
        FirstOfTexts({}, writer.finished()).write(folder / f"{part}")
    facts["plan_seconds"], start = time.perf_counter() - start, time.perf_counter()
    parts = [read_first(folder / f"{part}", "caption-checks") for part in range(PARTS)]
    reduce(FirstOfTexts.merge, parts).write(folder / "plan")
    facts["merge_seconds"], start = time.perf_counter() - start, time.perf_counter()
    plan = read_first(folder / "plan", "caption-checks")
    kept = sum(int(plan.first(hashes[:, None], ids).sum()) for hashes, ids in chunks(0, count, distinct, ASKED))
    facts["apply_seconds"] = time.perf_counter() - start
    if kept != distinct:
        raise ValueError(f"{kept} of {distinct} groups have one first pair")
    size, peak = (folder / "plan").stat().st_size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**facts, "plan_mib": size / 2**20, "peak_mib": peak}


@contextlib.contextmanager
def growing(counts: tuple[int, ...]) -> Iterator[Row]:
    """More and more keys, each count by a process of its own: seconds, bytes and peak memory."""
    found = {}
    for count in counts:
        words = [sys.executable, "-m", "benchmarks.keys", str(count)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(f"{count} keys failed: {done.stderr[-300:]}")
        found[f"{count:,} keys"] = json.loads(done.stdout)
    before, last = (row["peak_mib"] for row in list(found.values())[-2:])
    what = f"peak memory, {counts[-1]:,} / {counts[-2]:,} keys"
    target = Target(what, lambda _: last / before, 1.1, least=False)
    yield Row({}, unit="keys", facts={"keys": found}, targets=(target,))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="bench-keys-") as place:
        print(json.dumps(planned(Path(place), int(sys.argv[1]))))
