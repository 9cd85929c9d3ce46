"""Work on keys that nobody holds in memory.

    python -m benchmarks.keys planned COUNT    plans of parts, their merged plan, and a verdict for every key
    python -m benchmarks.keys encoded COUNT    the driver of ``encode --cluster``, with workers in the same process
    python -m benchmarks.keys opened COUNT     the names of pictures in folders, and of members of tars

Keys come from a generator. In ``planned`` every tenth pair has the words of an earlier one, so the number of first ones
is known; a key is what ``curate --method caption-checks`` keeps of a text: a hash of its words and the id of the pair.
In ``encoded`` the encoder is a stand-in, so that what is measured is all else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.measure import Row, Target, peak_mib
from diptych.core import Run, Table
from diptych.data.folders import ImageFiles
from diptych.data.formats.webdataset import TarImages
from diptych.data.labelled import LabelledData
from diptych.data.memory import packed
from diptych.data.sorted_runs import RunWriter
from diptych.features.first_of_texts import LAYOUT, FirstOfTexts, read_first
from diptych.tasks.cluster import Shared

PARTS, CHUNK, ASKED, BATCH = 16, 65_536, 2**20, 1024
"""Parts that are planned one after the other, as shards are; pairs of a chunk; pairs that are judged at a time; numbers
of a batch.
"""
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
    size, peak = (folder / "plan").stat().st_size, peak_mib()
    return {**facts, "plan_mib": size / 2**20, "peak_mib": peak}


@dataclass(frozen=True)
class Numbers(ImageFiles):
    """Files that need not be there: an item is its number."""

    def __getitem__(self, index: int, /) -> Any:
        return index

    def key(self, index: int, /) -> str:
        return hashlib.sha256(self.name(index).encode()).hexdigest()


def files(count: int) -> Iterator[str]:
    """Yield paths in folders of 1,000."""
    for i in range(count):
        yield f"/data/photos/some-collection/{i // 1000:07d}/{i:010d}.jpg"


@dataclass(frozen=True)
class Slopes:
    """Encodes the number i as (1, i / 2^20)."""

    modality: str = "text"  # so that no thread decodes
    size: int | None = None
    dim: int = 2
    fingerprint: str = "5105e5"

    def inputs(self, items: Sequence[int], size: int | None = None) -> Any:
        import torch

        return torch.tensor(items)

    def encode(self, x: Any, /) -> Any:
        import torch

        return torch.stack([torch.ones(len(x)), x / 2**20], dim=1)


class Here:
    """Workers that are this process."""

    size = 2

    def submit(self, fn: Callable[..., Any], /, *given: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*given))
        return future

    def share(self, value: Any) -> Shared[Any]:
        return Shared("the order", lambda: value)


def encoded(folder: Path, count: int) -> dict[str, float]:
    """Encode ``count`` numbers; return seconds, those of a second run that finds all of them, bytes and peak memory in
    MiB.

    Raises:
        ValueError: a vector is another one, or the second run encodes.
    """
    from diptych.core import Around, PixelRecipe, Spec
    from diptych.tasks.encode.cluster import Crew
    from diptych.tasks.encode.write import encode

    facts, data = dict[str, float](), LabelledData("numbers", (), {"test": Table(Numbers(packed(files(count))))})
    pixels = PixelRecipe(8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    spec = Spec("slopes", "slopes", "none", "none", "none", "none", 1, 0, "mean", 2, pixels, "softmax")
    base: Any = SimpleNamespace(spec=spec)
    backbone = Around(base, {"image": Slopes(), "text": Slopes()})
    for what in ("encode_seconds", "again_seconds"):
        run, start = Run(cache=folder / "cache", batch=BATCH), time.perf_counter()
        encoded = encode(data, backbone, run, folder / "out", crew=Crew(Here(), lambda: backbone), overwrite=True)
        facts[what] = time.perf_counter() - start
        if (encoded.items, encoded.encoded) != (count, count if what == "encode_seconds" else 0):
            raise ValueError(f"{encoded.items} vectors of {count} numbers, {encoded.encoded} of them encoded")
    peak, path = peak_mib(), folder / "out" / "img_emb" / "img_emb_0.npy"
    for start_row in range(0, count, ASKED):  # mapped anew: pages that were read would count as memory
        slopes = np.load(path, mmap_mode="r")[start_row : start_row + ASKED]
        if not np.allclose(slopes[:, 1] / slopes[:, 0], np.arange(start_row, start_row + len(slopes)) / 2**20):
            raise ValueError(f"other vectors between rows {start_row} and {start_row + ASKED}")
    size = sum(path.stat().st_size for path in (folder / "cache").rglob("*") if path.is_file())
    return {**facts, "cache_mib": size / 2**20, "peak_mib": peak}


def opened(folder: Path, count: int) -> dict[str, float]:
    """Hold names; return the seconds to take them in, those to read all of them, and MiB, of both kinds."""
    facts = dict[str, float]()
    for what in ("files", "members"):
        before, start = _resident(), time.perf_counter()
        members = ((f"{p[:36]}.tar", p[37:], 1024 * i, 51_200 + i % 999) for i, p in enumerate(files(count)))
        items: Any = ImageFiles(packed(files(count))) if what == "files" else TarImages(packed(members))
        facts |= {f"{what}_seconds": time.perf_counter() - start, f"{what}_mib": _resident() - before}
        start = time.perf_counter()
        for i in range(count):
            items.name(i)
        facts[f"{what}_read_seconds"] = time.perf_counter() - start
    return facts


def _resident() -> float:
    words = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(words[1]) * resource.getpagesize() / 2**20


@contextlib.contextmanager
def growing(work: str, counts: tuple[int, ...]) -> Iterator[Row]:
    """More and more keys, each count by a process of its own: seconds, bytes and peak memory."""
    results = {}
    for count in counts:
        words = [sys.executable, "-m", "benchmarks.keys", work, str(count)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(f"{count} keys failed: {done.stderr[-300:]}")
        results[f"{count:,} keys"] = json.loads(done.stdout)
    before, last = (row["peak_mib"] for row in list(results.values())[-2:])
    what = f"peak memory, {counts[-1]:,} / {counts[-2]:,} keys"
    target = Target(what, lambda _: last / before, 1.1, least=False)
    yield Row({}, unit="keys", facts={"keys": results}, targets=(target,))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="bench-keys-") as place:
        print(
            json.dumps(
                {"planned": planned, "encoded": encoded, "opened": opened}[sys.argv[1]](Path(place), int(sys.argv[2]))
            )
        )
