"""Every curator of the catalog beside a plain script on the same pairs: verdicts, pairs a second, processor seconds and
peak memory.

    python -m benchmarks.curators FOLDER SYSTEM diptych|script      one contender, after ``fill`` made the folder

A pool is a Parquet file of pictures and captions. Our curators read it, plan and apply, and find the vectors of
pictures and captions in the cache. A script reads captions from the same file, and vectors from ``.npy`` files.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import dedup
from benchmarks.curator_scripts import CLUSTERS, LONG, LOOKS, SCRIPTS, WANTED
from benchmarks.measure import Row, Target, peak_mib
from diptych import catalog
from diptych.core import Around, Clustered, Curator, Kit, PixelRecipe, Run, Spec, Texts, UsageError
from diptych.data.formats.parquet_pairs import open_parquet_pairs
from diptych.data.memory import InMemory
from diptych.data.words.metaclip_entries import entries
from diptych.features.embed import space_facts
from diptych.nn.vector_head import fit_head
from diptych.store.store import Store

SIDE, RUNS = 32, 3
"""Pixels of a side, and calls of a contender."""
SLOWER = 1.3
"""A script may be this many times as fast."""
SAME = 0.99
"""Least share of groups with as many kept pairs, where cells, clusters or min-hashes are drawn at random."""
GROUPS = {"biomedica": "rows", "caption-checks": "groups", "semdedup": "copies"}
"""Systems that draw, and what the groups are: pairs, or the copies of each other, of which any one may stay."""


@dataclass(frozen=True)
class Stored:
    """An encoder of which all vectors are in the cache: it counts the words of a text, and encodes nothing."""

    modality: str
    dim: int
    size: int | None = None
    fingerprint: str = "5105e5"

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Any:
        if self.modality == "text" and all(len(text.split()) <= LONG for text in items):
            return items
        raise UsageError("The text is too long, or a vector is not in the cache.")

    def encode(self, x: Any, /) -> Any:
        raise ValueError("a vector is not in the cache")


def encoders(dim: int) -> dict[str, Stored]:
    """Return the encoders of pictures and texts."""
    return {"image": Stored("image", dim, SIDE), "text": Stored("text", dim)}


def captions(count: int, rng: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """Return distinct captions, of which some have a fault or are copies, and the group of each."""
    names, sentences, groups = np.array(entries("wordnet")), list[str](), np.arange(count)
    for i in range(count):
        fault, words = i % 15, " ".join(rng.choice(names, 60 if i % 15 == 6 else rng.integers(4, 9)))
        if fault in (2, 8):  # the caption before with other marks, or a long one with another last word
            groups[i] = i - max(1, fault // 4)
            words = f"{sentences[-1]}!" if fault == 2 else f"{sentences[-2].rpartition(' ')[0]} otherwise"
        faulty = {3: f"x{i}", 4: f"IMG_{i}.jpg", 10: f"{words}. {words}.", 12: f"{words} " * LONG}
        sentences.append(faulty.get(fault, words).strip())
    return sentences, groups


def fill(folder: Path, count: int, dim: int) -> None:
    """Make a pool: pictures, captions, vectors, a head, and the cache."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng, (z, copies, kinds) = np.random.default_rng(1), dedup.planted(count, dim, 0, spread=2.0)
    across = rng.normal(size=z.shape)
    across -= (across * z).sum(1, keepdims=True) * z
    cosine = np.where(rng.permutation(count) < 0.3 * count, 0.5, 0.1)[:, None] + rng.uniform(-0.05, 0.05, (count, 1))
    texts = cosine * z + np.sqrt(1 - cosine**2) * across / np.linalg.norm(across, axis=1, keepdims=True)
    sentences, groups = captions(count, rng)
    planted = {"images": z, "texts": texts.astype(np.float32), "kinds": kinds, "copies": copies, "groups": groups}
    planted["rows"] = np.arange(count)
    for name, values in planted.items():
        np.save(folder / f"{name}.npy", values)
    pictures = [jpeg(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(count)]
    pq.write_table(pa.table({"image": pictures, "caption": sentences}), folder / "pool.parquet")
    right, few = kinds < WANTED, min(1000, count // 2)
    fit_head(z[:few], right[:few], z[few : 2 * few], right[few : 2 * few]).save(folder / "head.safetensors")
    store, run = Store(folder / "cache"), Run(cache=folder / "cache")
    items = [item for _, item in open_parquet_pairs(folder / "pool.parquet")]
    for name, samples in (("image", InMemory(items)), ("text", Texts(tuple(sentences)))):
        space, rows = store.space(space_facts(encoders(dim)[name], run)), {samples.key(i): i for i in range(count)}
        for batch in store.plan(space, list(rows), size=256):
            store.put(space, batch, planted[f"{name}s"][[rows[key] for key in batch.keys]])


def jpeg(pixels: np.ndarray) -> bytes:
    """Return a JPEG of coarse pixels."""
    content = io.BytesIO()
    Image.fromarray(pixels).resize((SIDE, SIDE)).save(content, "JPEG")
    return content.getvalue()


def curated(folder: Path, system: str) -> np.ndarray:
    """Plan and apply a curator; return whether each pair stays."""
    slug, _, variant = system.partition(":")
    settings: dict[str, Any] = {
        "biomedica": {"clusters": CLUSTERS, "components": dedup.KINDS, "sample": 2500},
        "vector-head": {"head": str(folder / "head.safetensors"), "threshold": 0.5},
    }.get(slug, {})
    curator: Any = replace(catalog.row(catalog.find(slug, Curator), variant), **settings)
    kinds, pool = np.load(folder / "kinds.npy", mmap_mode="r"), open_parquet_pairs(folder / "pool.parquet")
    dim, keep = np.load(folder / "images.npy", mmap_mode="r").shape[1], np.zeros(len(kinds), dtype=bool)
    pixels = PixelRecipe(SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    spec = Spec("stored", "stored", "none", "none", "none", "none", 1, 0, "mean", dim, pixels, "softmax")
    base: Any = SimpleNamespace(spec=spec)
    kit, run = Kit({"main": Around(base, encoders(dim))}), Run(cache=folder / "cache", workers=2)
    plan = curator.plan(kit, pool, run)
    if isinstance(plan, Clustered):  # people name a few pictures of each cluster
        named = (name for _, name in plan.looks(LOOKS))
        rows = (f"{name},kind {kinds[int(name.rpartition('[')[2][:-1])]}\n" for name in named)
        (folder / "votes.csv").write_text("filepath,labels\n" + "".join(rows), encoding="utf-8")
        curator = replace(curator, votes=str(folder / "votes.csv"), only=tuple(f"kind {i}" for i in range(WANTED)))
    for some in curator.decide(kit, plan, pool, run):
        keep[some.positions] = some.keep
    return keep


def forget(folder: Path) -> None:
    """Remove the numbers of pairs that a plan notes for the pass that applies it, so that each call computes them."""
    for note in folder.glob("cache/*/pools/*.json"):
        if b'"numbers":' in note.read_bytes():
            note.unlink()


def once(folder: Path, system: str, who: str) -> dict[str, Any]:
    """Run a contender a few times in this process, and write what it keeps."""
    wall, processor = list[float](), list[float]()
    for _ in range(RUNS):
        forget(folder)
        start, before = time.perf_counter(), time.process_time()
        keep = curated(folder, system) if who == "diptych" else SCRIPTS[system](folder)
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - before)
    np.save(folder / f"{system}-{who}.npy", keep)
    return {"seconds": median(wall), "cpu_seconds": median(processor), "peak_mib": peak_mib()}


def called(folder: Path, system: str, who: str) -> dict[str, Any]:
    """Return ``once`` of another process; raises ImportError where a library is not installed."""
    words = [sys.executable, "-m", "benchmarks.curators", str(folder), system, who]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if "ModuleNotFoundError" in done.stderr:
        raise ImportError(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        raise ValueError(f"{system} failed as {who}: {done.stderr[-300:]}")
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def kept(folder: Path, system: str) -> tuple[int, int]:
    """Return how many pairs both contenders keep.

    Raises:
        ValueError: the one keeps other pairs, or another number of a group of copies.
    """
    slug, counts = system.partition(":")[0], list[np.ndarray]()
    groups = np.load(folder / f"{GROUPS.get(slug, 'rows')}.npy")
    for who in ("script", "diptych"):
        counts.append(np.bincount(groups, np.load(folder / f"{system}-{who}.npy"), groups.max() + 1))
    same = float((counts[0] == counts[1]).mean())
    if same < (SAME if slug in GROUPS else 1):
        raise ValueError(f"{system} and its script keep the same of {same:.2%}: {counts[0].sum()} {counts[1].sum()}")
    return int(counts[0].sum()), int(counts[1].sum())


def left_out() -> dict[str, str]:
    """Return the curators of the catalog that no script stands beside, with the reason.

    Raises:
        ValueError: there is no reason.
    """
    systems = [card["slug"] for card in catalog.cards() if card["verb"] == "curate"]
    writing = {s: "writes texts with models" for s in systems if "Writer" in catalog.find(s, Curator).card.needs.parts}
    if strange := {*systems}.difference(writing, (name.partition(":")[0] for name in SCRIPTS)):
        raise ValueError(f"no script stands beside {', '.join(sorted(strange))}")
    return writing


@contextlib.contextmanager
def curating(pairs: int, dim: int) -> Iterator[Row]:
    """All curators of the catalog beside their scripts; ours also on a quarter of the pairs, for peak memory."""
    missing = left_out()
    rows, targets = dict[str, Any](), list[Target]()
    with tempfile.TemporaryDirectory(prefix="bench-curators-") as place:
        whole, part = Path(place) / "whole", Path(place) / "part"
        for folder, count in ((whole, pairs), (part, pairs // 4)):
            folder.mkdir()
            fill(folder, count, dim)
        for system in SCRIPTS:
            try:
                script = called(whole, system, "script")
            except ImportError as error:
                missing[system] = str(error)
                continue
            ours, less = called(whole, system, "diptych"), called(part, system, "diptych")["peak_mib"]
            for who, facts, counts in zip(("script", "diptych"), (script, ours), kept(whole, system), strict=True):
                rows[f"{system}, {who}"] = {"pairs_per_second": pairs / facts["seconds"], **facts, "kept": counts}
            ratio, grown = script["cpu_seconds"] / ours["cpu_seconds"], ours["peak_mib"] / less
            targets += [
                Target(f"{system}: processor seconds, script / diptych", lambda _, r=ratio: r, 1 / SLOWER),
                Target(f"{system}: peak memory, 4 x / 1 x the pairs", lambda _, g=grown: g, 1.1, least=False),
            ]
        yield Row({}, unit="pairs", facts={"pairs": pairs, "curators": rows}, missing=missing, targets=tuple(targets))


if __name__ == "__main__":
    print(json.dumps(once(Path(sys.argv[1]), *sys.argv[2:])))
