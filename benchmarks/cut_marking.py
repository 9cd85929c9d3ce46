"""Do the answers that ``tasks.search.telling`` asks for narrow the interval of a cut faster than others?

    python -m benchmarks.cut_marking --data FOLDER --sets imagenet1k_sample coco_mini --out results/cut-marking.json

People have marked the first 20 answers of ``START`` queries. Then 20 more answers are marked a round: *telling*, one
each of queries that nobody marked, drawn from the answers above the lowest cut, of queries that have some; or
*whole*, the first 20 answers of one other query, as before. Shown is the mean width of the 95 % interval of the cut,
and how often it holds the share of right answers above the cut over all queries of the set, marked or not.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import diptych
from benchmarks.cut import Searched, searched
from diptych.core import DataError
from diptych.metrics.cut import STRATA, Marks
from diptych.tasks.search.telling import COUNT, LEVEL, drawn

START, ROUNDS, SEEDS = {"imagenet1k_sample": 80, "coco_mini": 30, "caltech40": 20}, 6, range(10)
LEVELS = {"imagenet1k_sample": 0.7, "coco_mini": 0.5, "caltech40": 0.7}
"""Set -> level of the cut: one that its marks reach."""


class People:
    """Marks of a simulated person."""

    def __init__(self, searched: Searched, seed: int, start: int) -> None:
        self.searched, self.rng = searched, np.random.default_rng(seed)
        order = self.rng.permutation(len(searched.present.score)).tolist()
        self.left = order[start:]
        self.rows = [(q, r, np.nan) for q in order[:start] for r in range(1, STRATA[0] + 1)]
        self.floor = -np.inf

    def marks(self) -> Marks:
        """Return what is marked."""
        query, rank, stands_for = (np.array(column) for column in zip(*self.rows, strict=True))
        at = (query, rank - 1)
        return Marks(
            self.searched.present.score[at], self.searched.present.right[at], query, rank, self.searched.drawn,
            stands_for=stands_for, floor=self.floor,
        )  # fmt: skip

    def more(self, *, telling: bool) -> None:
        """Mark as many answers as are asked for at once."""
        if not telling:
            if self.left:
                q = self.left.pop(0)
                self.rows += [(q, r, np.nan) for r in range(1, STRATA[0] + 1)]
            return
        self.floor = max(self.floor, self.marks().cut(LEVEL, depth=STRATA[0]).threshold)
        marks = 0
        for q in list(self.left):
            place, above = drawn(self.searched.present.score[q, : STRATA[0]].tolist(), self.floor, self.rng)
            if above and marks < COUNT:
                self.rows.append((q, place + 1, float(above)))
                self.left.remove(q)
                marks += 1


def rounds(searched: Searched, seed: int, start: int, level: float, *, telling: bool) -> list[tuple[float, ...] | None]:
    """Return (width, whether the interval holds the truth, stated, truth) after each round; None: no cut."""
    people, rows = People(searched, seed, start), list[tuple[float, ...] | None]()
    score, right = searched.present.score[:, : STRATA[0]], searched.present.right[:, : STRATA[0]]
    for number in range(ROUNDS + 1):
        try:
            if number:
                people.more(telling=telling)
            cut = people.marks().cut(level, depth=STRATA[0])
        except DataError:
            rows.append(None)
            continue
        truth = float(right[score >= cut.threshold].mean())
        rows.append((cut.high - cut.low, float(cut.low <= truth <= cut.high), cut.share, truth))
    return rows


def measured(searched: Searched, name: str) -> dict[str, Any]:
    """Return way -> a row a round."""
    result: dict[str, Any] = {}
    for way in ("telling", "whole"):
        every = [rounds(searched, s, START[name], LEVELS[name], telling=way == "telling") for s in SEEDS]
        result[way] = []
        for number in range(ROUNDS + 1):
            some = np.array([r[number] for r in every if r[number] is not None], dtype=np.float64)
            row: dict[str, Any] = {"marks": START[name] * STRATA[0] + COUNT * number, "cuts": len(some)}
            if len(some):
                width, holds, stated, truth = some.mean(axis=0).tolist()
                row |= {"width": width, "holds": holds, "stated": stated, "truth": truth}
            result[way].append(row)
    return {"level": LEVELS[name], "queries": len(searched.present.score), **result}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--sets", nargs="*", default=["imagenet1k_sample", "coco_mini"], choices=list(START))
    parser.add_argument("--out", type=Path, default=Path("out/cut_marking.json"))
    options = parser.parse_args()
    model = diptych.load("lite", cache=options.cache or True)
    command = f"python -m benchmarks.cut_marking --data FOLDER --sets {' '.join(options.sets)}"
    result: dict[str, Any] = {
        "model": "lite", "seeds": len(SEEDS), "command": f"{command} --out results/cut-marking.json", "sets": {},
    }  # fmt: skip
    for name in options.sets:
        result["sets"][name] = measured(searched(name, options.data, model), name)
        for way in ("telling", "whole"):
            for row in result["sets"][name][way]:
                shown = {k: round(v, 3) for k, v in row.items()}
                print(f"{name} {way}: {shown}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
