"""Curation at speed: python -m benchmarks.curate [--texts 1000000] [--workers 2] [--out curate.json]

A million alt-texts from a seeded Zipf generator, counted and balanced by MetaCLIP, and counted by a plain pyahocorasick script.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.data.metadata import entries
from diptych.data.textlines import open_lines
from diptych.features.substrings import normalised
from diptych.methods.curate.metaclip import MetaCLIP
from diptych.tasks.curate import apply_plan

NOISE = ("IMG", "jpg", "photo", "the", "of", "new", "for", "sale")


def alt_texts(count: int, seed: int, names: Sequence[str], exponent: float = 1.07, chunk: int = 50_000) -> Iterator[str]:
    """Yield texts of names and noise words: rank r of a fixed shuffle of the names has a chance like r ** -exponent."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names))
    chances = np.arange(1, len(names) + 1, dtype=np.float64) ** -exponent
    steps = np.cumsum(chances / chances.sum())
    for start in range(0, count, chunk):
        lengths = 1 + rng.poisson(2, size=min(chunk, count - start))
        drawn = order[np.minimum(np.searchsorted(steps, rng.random(lengths.sum())), len(names) - 1)]
        noise = rng.integers(len(NOISE), size=lengths.sum())
        at = 0
        for n in lengths.tolist():
            yield " ".join(f"{NOISE[b]} {names[a]}" for a, b in zip(drawn[at : at + n].tolist(), noise[at : at + n].tolist(), strict=True))
            at += n


def pyahocorasick(path: Path, names: Sequence[str]) -> np.ndarray:
    """Count the entries of every line with pyahocorasick, one text at a time."""
    import ahocorasick

    automaton = ahocorasick.Automaton()
    for i, name in enumerate(names):
        automaton.add_word(f" {name} ", i)
    automaton.make_automaton()
    counts = np.zeros(len(names), dtype=np.uint64)
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            for i in {i for _, i in automaton.iter(normalised(line.rstrip("\n")))}:
                counts[i] += np.uint64(1)
    return counts


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    names, run = entries("wordnet"), Run(workers=given.workers)
    with tempfile.TemporaryDirectory() as folder:
        pool = Path(folder) / "pool.txt"
        with pool.open("w", encoding="utf-8") as file:
            file.writelines(f"{text}\n" for text in alt_texts(given.texts, 0, names))
        stream, found = open_lines(pool), {}

        def timed(name: str, start: float, cpu: float) -> None:
            wall, own = time.perf_counter() - start, time.process_time() - cpu
            found[name] = {
                "wall_s": round(wall, 2),
                "cpu_s": round(own, 2),
                "pairs_per_s": round(given.texts / wall),
                "pairs_per_cpu_s": round(given.texts / own),
            }

        curator = MetaCLIP()
        start, cpu = time.perf_counter(), time.process_time()
        plan = curator.plan(Kit(), stream, run)
        timed("metaclip plan", start, cpu)
        t = max(1.0, float(np.quantile(plan.counts[plan.counts > 0], 0.97)))
        start, cpu = time.perf_counter(), time.process_time()
        kept = apply_plan(MetaCLIP(t=t), Kit(), plan, stream, run, Path(folder) / "kept", about={})
        timed("metaclip apply", start, cpu)
        found["peak_memory_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        found |= {"texts": given.texts, "t": t, "kept": kept.kept, **{k: v for k, v in plan.report().items() if k != "commonest"}}
        try:
            start, cpu = time.perf_counter(), time.process_time()
            same = bool((pyahocorasick(pool, names) == plan.counts).all())
            timed("pyahocorasick script, counting", start, cpu)
            found["same_counts"] = same
        except ImportError:
            found["pyahocorasick script, counting"] = "pyahocorasick is not installed"
    text = json.dumps(found, indent=2)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
