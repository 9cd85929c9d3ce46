"""How many marks does ``search --at-least`` need? Cuts from few simulated marks against the truth.

    python -m benchmarks.cut_least --queries 10 20 --backbones strong middle --out results/cut-least.json

A query has 5 to 40 right entries among 1,000. Scores are normal, with mean 0 where an entry is wrong, and d_q where it
is right; d_q is drawn once a query from a normal distribution around ``SEPARATIONS``. People mark some of the first 20
answers of each query, drawn at random. The truth is the share of right answers above the cut among the first 20 of
2,000 other queries. The bounds of ``metrics.cut`` on queries and marks are switched off; its other checks stay.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError
from diptych.metrics import cut as bounds
from diptych.metrics.cut import Marks

SEPARATIONS = {"weak": 2.0, "middle": 3.0, "strong": 4.0}
LEVELS = (0.5, 0.8, 0.9)
QUERIES, PER_QUERY = (10, 20, 40), (5, 10, 20)
DRAWS, TRUTH, ENTRIES, FIRST = 200, 2000, 1000, 20
SLACK = 0.05
"""How far the realised share may lie below the wanted one before the promise counts as broken."""

Answers = tuple[NDArray[np.float64], NDArray[np.bool_]]


def answers(rng: np.random.Generator, queries: int, separation: float) -> Answers:
    """Return (queries, FIRST) standard scores of the first answers to each query, and whether they are right."""
    x, right = np.empty((queries, FIRST)), np.empty((queries, FIRST), dtype=bool)
    for q in range(queries):
        scores, relevant = rng.normal(size=ENTRIES), int(rng.integers(5, 41))
        scores[:relevant] += separation + rng.normal()
        first = np.argsort(-scores)[:FIRST]
        x[q], right[q] = (scores[first] - scores.mean()) / scores.std(), first < relevant
    return x, right


def measured(rng: np.random.Generator, queries: int, per_query: int, separation: float, truth: Answers) -> Any:
    """Return level -> (stated, low, realised) of one set of marks, for the levels that get a cut."""
    x, right = answers(rng, queries, separation)
    picked = np.argsort(rng.random(x.shape), axis=1)[:, :per_query]
    query = np.repeat(np.arange(queries), per_query)
    rows = {}
    for level in LEVELS:
        try:
            marks = Marks(np.take_along_axis(x, picked, 1).ravel(), np.take_along_axis(right, picked, 1).ravel(), query)
            cut = marks.cut(level)
        except DataError:
            continue
        above = truth[0] >= cut.threshold
        if above.any():
            rows[level] = (cut.share, cut.low, float(truth[1][above].mean()))
    return rows


def main() -> None:
    """Simulate, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/cut_least.json"))
    parser.add_argument("--queries", type=int, nargs="*", default=QUERIES)
    parser.add_argument("--backbones", nargs="*", default=tuple(SEPARATIONS), choices=tuple(SEPARATIONS))
    options = parser.parse_args()
    bounds.LEAST_QUERIES = bounds.LEAST_MARKS = 1
    rows: list[dict[str, Any]] = []
    for world in options.backbones:
        separation = SEPARATIONS[world]
        truth = answers(np.random.default_rng(0), TRUTH, separation)
        for queries in options.queries:
            for per_query in PER_QUERY:
                rng = np.random.default_rng([1, queries, per_query])
                every = [measured(rng, queries, per_query, separation, truth) for _ in range(DRAWS)]
                for level in LEVELS:
                    at_level = np.array([r[level] for r in every if level in r])
                    if len(at_level):
                        stated, low, realised = at_level.T
                        rows.append({
                            "backbone": world, "queries": queries, "marks": queries * per_query, "level": level,
                            "cuts": len(at_level) / DRAWS, "stated": float(stated.mean()),
                            "realised": float(realised.mean()),
                            "broken": float((realised < level - SLACK).mean()),
                            "below_interval": float((realised < low).mean()),
                        })  # fmt: skip
                        print(" ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in rows[-1].values()))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    chosen = f"--queries {' '.join(map(str, options.queries))} --backbones {' '.join(options.backbones)}"
    facts = {"command": f"python -m benchmarks.cut_least {chosen}", "simulated": True, "draws": DRAWS}
    options.out.write_text(json.dumps({**facts, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
