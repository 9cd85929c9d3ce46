"""The cut of an index of ``lite`` that nobody marked, for each of its weights: thresholds measured on the development
sets.

python -m recipes.lite_cut fit --data DATA --out src/diptych/assets/lite/cut.json
python -m recipes.lite_cut judge --data DATA --out results/lite-cut.json

    t1(a) = the lowest t with  mean over sets of share(t)  >=  a
    t(a)  = max( t1(a), max over sets of t2(a) ),   and  max( t1(a), t2(a) of the index )  where its words were drawn

share(t): share of right answers of a set at or above t, among the first ``DEPTH`` of each query, with one more that is
wrong;  t2(a): the cut above which at most 1 - a of the nouns that are absent from the set have an answer, see
``metrics.cut``. Each set counts alike, and the mean share is made to rise with t (isotonic regression).

What ships is figures alone; ``recipes.lite_cut_words`` adds those of kinds of words to it, after a fit. *Judge* leaves
each set out once: thresholds from the others, shares on it, how many queries have an answer and a right one, and how
many words of ``recipes.search_truth`` for absent things have an answer.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

import diptych
from benchmarks.cut import Searched, searched
from diptych.core import DataError
from diptych.metrics.cut import Floats
from recipes.search_truth import SETS

BACKBONES, LEVELS, DEPTH = ("lite:2026-11", "lite:views", "lite", "lite:512"), (0.5, 0.6, 0.7, 0.8, 0.9), 50
GRID = 400
"""Thresholds that are tried."""
FACTOR = 4
"""How many times as large as the largest set an index may be (our choice)."""
COMMAND = "python -m recipes.lite_cut judge --data DATA --out results/lite-cut.json"


@dataclass(frozen=True)
class Shares:
    """Shares of right answers above thresholds.

    Args:
        grid: (g,) ascending thresholds.
        share: (s, g) of each set, with one more answer that is wrong; nan where nothing lies above.
        above: (s, g) answers of each set at or above them.
    """

    grid: Floats
    share: Floats
    above: NDArray[np.int64]


def shares(sets: Sequence[Searched]) -> Shares:
    """Return the shares of sets."""
    scores = [s.present.score[:, :DEPTH] for s in sets]
    grid = np.linspace(0, max(float(s.max()) for s in scores), GRID)
    above = np.array([[(score >= t).sum() for t in grid] for score in scores])
    true = [s.present.right[:, :DEPTH] for s in sets]
    right = np.array([[(y & (score >= t)).sum() for t in grid] for y, score in zip(true, scores, strict=True)])
    return Shares(grid, np.where(above > 0, right / (above + 1), np.nan), above)


def precise(sets: Sequence[Searched], level: float) -> float:
    """Return the lowest cut above which the wanted share of answers is right, on the mean of sets.

    Raises:
        DataError: the sets do not reach it.
    """
    known = shares(sets)
    reached = np.isfinite(known.share).sum(axis=0) > len(sets) / 2  # where most sets have an answer
    mean = np.nanmean(known.share[:, reached], axis=0)
    rising = IsotonicRegression().fit_transform(known.grid[reached], mean)
    good = np.flatnonzero(rising >= level)
    if not len(good):
        raise DataError(f"The sets reach {rising.max():.2f} on average, not {level:g}.")
    return float(known.grid[reached][good[0]])


def threshold(sets: Sequence[Searched], level: float) -> float:
    """Return the cut of a level for an index for which no words were drawn.

    Raises:
        DataError: the sets do not reach it.
    """
    return max(precise(sets, level), *(s.drawn.lowest(level) for s in sets))


def right_above(of_set: Searched, cut: float) -> tuple[int, int]:
    """Return the number of answers of a set above a cut, and of right ones among them."""
    above = of_set.present.score[:, :DEPTH] >= cut
    return int(above.sum()), int((of_set.present.right[:, :DEPTH] & above).sum())


def curve(sets: Sequence[Searched]) -> dict[str, list[float]]:
    """Return the probability that an answer is right by its score, as if half of the queries were for absent things."""
    score, right, weight = list[Floats](), list[Floats](), list[Floats]()
    for of_set in sets:
        present = of_set.present.score[:, :DEPTH]
        ranks = np.array([r for r in of_set.drawn.ranks if r <= DEPTH])
        false = of_set.drawn.scores[:, : len(ranks)]
        score += [present.ravel(), false.ravel()]
        right += [of_set.present.right[:, :DEPTH].ravel().astype(float), np.zeros(false.size)]
        counts = np.broadcast_to(np.diff(ranks, prepend=0), false.shape).ravel()
        weight += [np.full(present.size, 1 / present.size), counts / counts.sum()]
    x, y, w = (np.concatenate(part) for part in (score, right, weight))
    keep = np.isfinite(x)
    fitted = IsotonicRegression(out_of_bounds="clip").fit(x[keep], y[keep], sample_weight=w[keep])
    grid = np.linspace(float(np.quantile(x[keep], 0.5)), float(x[keep].max()), 60)
    return {"score": grid.round(4).tolist(), "right": fitted.predict(grid).round(4).tolist()}


def fitted(sets: Mapping[str, Searched], weights: str) -> dict[str, Any]:
    """Return what ships of a backbone."""
    every = list(sets.values())
    levels: dict[str, Any] = {}
    for level in LEVELS:
        try:
            lowest, cut = precise(every, level), threshold(every, level)
        except DataError as error:
            sys.stderr.write(f"  {level:g}: {error}\n")
            continue
        own = [max(lowest, of_set.drawn.lowest(level)) for of_set in every]
        levels[f"{level:g}"] = {
            "threshold": round(cut, 5), **stated(every, [cut] * len(every)),
            "own_words": {"threshold": round(lowest, 5), **stated(every, own)},
        }  # fmt: skip
    return {
        "weights": weights, "depth": DEPTH, "most_entries": FACTOR * max(of_set.entries for of_set in every),
        "sets": list(sets), "marks": sum(of_set.present.score[:, :DEPTH].size for of_set in every),
        "queries": sum(len(of_set.present.score) for of_set in every),
        "words": sum(len(of_set.drawn.scores) for of_set in every), "levels": levels, "curve": curve(every),
    }  # fmt: skip


def stated(sets: Sequence[Searched], cuts: Sequence[float]) -> dict[str, Any]:
    """Return what was measured of sets, each with its cut."""
    counts = [right_above(of_set, cut) for of_set, cut in zip(sets, cuts, strict=True)]
    known = [right / (above + 1) for above, right in counts if above]
    absent = [float((s.drawn.scores[:, 0] >= cut).mean()) for s, cut in zip(sets, cuts, strict=True)]
    return {
        "share": float(np.mean(known)), "interval": [min(known), max(known)],
        "above": sum(above for above, _ in counts), "absent": max(absent),
    }  # fmt: skip


def judged_at(of_set: Searched, cut: float) -> dict[str, Any]:
    """Return what a cut does on a set."""
    shown = of_set.present.score[:, :DEPTH] >= cut
    right = of_set.present.right[:, :DEPTH] & shown
    return {
        "threshold": cut, "above": int(shown.sum()), "right": float(right.sum() / shown.sum()) if shown.any() else None,
        "right_kept": float(right.sum() / max(int(of_set.present.right[:, :DEPTH].sum()), 1)),
        "queries": len(shown), "answered": float(shown.any(axis=1).mean()),
        "with_a_right_answer": float(right.any(axis=1).mean()),
        "any": float((of_set.aside.score[:, 0] >= cut).mean()), "words": len(of_set.words),
    }  # fmt: skip


def judged(sets: Mapping[str, Searched]) -> dict[str, Any]:
    """Return level -> set -> what cuts from the other sets do, without and with the words that were drawn for it."""
    result: dict[str, Any] = {}
    for level in LEVELS:
        rows: dict[str, Any] = {}
        for name, of_set in sets.items():
            try:
                others = [other for n, other in sets.items() if n != name]
                lowest, cut = precise(others, level), threshold(others, level)
            except DataError as error:
                rows[name] = {"refused": str(error)}
                continue
            own = max(lowest, of_set.drawn.lowest(level))
            rows[name] = {**judged_at(of_set, cut), "own_words": judged_at(of_set, own)}
        result[f"{level:g}"] = rows
    return result


def main(given: Sequence[str] | None = None) -> None:
    """Fit or judge, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("fit", "judge"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--backbones", nargs="*", default=BACKBONES, help="the others stay in OUT as they are")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(given)
    rows: dict[str, Any] = {}
    if options.out.is_file():
        rows = dict(json.loads(options.out.read_text(encoding="utf-8"))["backbones"])
    for backbone in options.backbones:
        model = diptych.load(backbone, cache=options.cache or True)
        sets = {name: searched(name, options.data, model) for name in SETS}
        rows[backbone] = fitted(sets, model.spec.weights) if options.what == "fit" else judged(sets)
        sys.stdout.write(f"{backbone}: {json.dumps(rows[backbone].get('levels', rows[backbone]), indent=1)}\n")
    facts = {"schema": 1} if options.what == "fit" else {"command": COMMAND, "depth": DEPTH}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({**facts, "backbones": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
