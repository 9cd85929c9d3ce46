"""Curation at speed: alt-texts from a seeded Zipf generator, counted by MetaCLIP and by a plain script."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Row, optional
from diptych.core import Kit, Run
from diptych.data.words.metaclip_entries import entries
from diptych.data.words.textlines import open_lines
from diptych.methods.curate.metaclip import MetaCLIP
from diptych.nn.text.substrings import normalised
from diptych.tasks.curate.plan import apply_plan

NOISE = ("IMG", "jpg", "photo", "the", "of", "new", "for", "sale")


def alt_texts(
    count: int, seed: int, names: Sequence[str], exponent: float = 1.07, chunk: int = 50_000
) -> Iterator[str]:
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
            yield " ".join(
                f"{NOISE[b]} {names[a]}"
                for a, b in zip(drawn[at : at + n].tolist(), noise[at : at + n].tolist(), strict=True)
            )
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


@contextlib.contextmanager
def counting(texts: int) -> Iterator[Row]:
    """Texts a second through the count of MetaCLIP, automaton included; balancing is timed once beside it."""
    names, run = entries("wordnet"), Run(workers=2)
    with tempfile.TemporaryDirectory(prefix="bench-curate-") as folder:
        pool = Path(folder) / "pool.txt"
        with pool.open("w", encoding="utf-8") as file:
            file.writelines(f"{text}\n" for text in alt_texts(texts, 0, names))
        missing: dict[str, str] = {}
        results: dict[str, Any] = {}
        with optional(missing, "pyahocorasick script"):
            import ahocorasick  # noqa: F401

            results["pyahocorasick script"] = lambda: pyahocorasick(pool, names)
        results["diptych metaclip"] = lambda: MetaCLIP().plan(Kit(), open_lines(pool), run).counts
        plan = MetaCLIP().plan(Kit(), open_lines(pool), run)
        t = max(1.0, float(np.quantile(plan.counts[plan.counts > 0], 0.97)))
        start = time.perf_counter()
        kept = apply_plan(MetaCLIP(t=t), Kit(), plan, open_lines(pool), run, Path(folder) / "kept", about={})
        facts = {
            "entries": len(names),
            "t": t,
            "kept": kept.kept,
            "balancing_texts_per_second": texts / (time.perf_counter() - start),
        }
        yield Row(
            results, texts, "texts", floors={"diptych metaclip": 1 - 1e-12}, facts=facts, missing=missing, rounds=3
        )
