"""Does ``search --at-least`` hold what it promises, for what is there and for what is not?

    python -m benchmarks.cut --data FOLDER --backbones lite:2026-11 lite:views --out results/cut.json

Half of the queries of a set are marked (all of the first 20 answers, some down to 200), nouns for absent things are
drawn by the index itself, and the cut that both allow is applied to the other half, and to words for absent things that
were written by hand and kept aside (``recipes.search_truth``). For the first 20, 50 and 200 answers of each query:
*realised* is the share of right answers above the cut, *any* the share of absent words with an answer above it.

Beside it stand the rule of earlier versions (standard scores, marks of the first 20 answers, no absent words), the
default that ships, with thresholds from the other sets alone, and the control, which shuffles the marks.

A level holds where at least half of the splits get a cut, the mean realised share lies within the mean interval at
every depth, and any <= 1 - level. Levels that no cut reaches are given with the reason.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import diptych
from diptych.core import DataError
from diptych.data.load import open_records
from diptych.data.words.wordnet import WordNet
from diptych.metrics.cut import STRATA, AbsentScores, Floats, Marks
from diptych.search_index.index import Index
from diptych.tasks.search.absent import AbsentWords, draw_absent, encoded
from diptych.tasks.search.cut import QUERIES, sampled_ranks
from diptych.tasks.search.index import index
from recipes.search_truth import SETS

LEVELS, DEPTHS = (0.5, 0.7, 0.8, 0.9), STRATA
MEASURED = ("caltech40", "coco_mini", "flickr8k_small", "imagenet1k_sample", "clothing_large", "pacs_large")
"""Sets that are measured unless others are named."""
RULES = {"now": range(10), "before": range(10), "shuffled": range(3)}
"""Rule -> seeds of the splits."""
COMMAND = "python -m benchmarks.cut --data FOLDER --backbones {} --out results/cut.json"


@dataclass(frozen=True)
class Answers:
    """The first answers of all queries of a set.

    Args:
        score: (q, k) cosines, descending.
        standard: (q, k) the same, less the mean of all entries for the query, over their standard deviation.
        right: (q, k) whether they are right.
    """

    score: Floats
    standard: Floats
    right: NDArray[np.bool_]

    def part(self, rows: NDArray[np.bool_]) -> Answers:
        """Return those of some queries."""
        return Answers(self.score[rows], self.standard[rows], self.right[rows])


@dataclass(frozen=True)
class Searched:
    """A set with a backbone.

    Args:
        entries: of the index.
        present: answers to queries for what is there.
        aside: answers to the words that are kept aside, none of them right.
        drawn: scores of the words that the index drew.
        words: those kept aside.
        right: all right pictures, over all queries.
    """

    entries: int
    present: Answers
    aside: Answers
    drawn: AbsentScores
    words: list[str]
    right: int


def answers(
    vectors: NDArray[np.floating[Any]], queries: NDArray[np.floating[Any]], right: NDArray[np.bool_] | None
) -> Answers:
    """Return the first answers of (q, D) queries among (n, D) vectors."""
    scores = (queries @ vectors.T).astype(np.float64)
    order = np.argsort(-scores, axis=1, kind="stable")[:, : STRATA[-1]]
    standard = (scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True)
    true = np.zeros(scores.shape, dtype=bool) if right is None else right
    return Answers(*(np.take_along_axis(values, order, axis=1) for values in (scores, standard, true)))


@dataclass(frozen=True)
class Embedded:
    """Vectors of a set with a backbone.

    Args:
        entries: (n, D) of pictures.
        queries: (q, D), and right: (q, n) whether a picture is right.
        aside: (w, D) of the words that are kept aside, and words: these.
        drawn: what the index drew.
    """

    entries: NDArray[np.floating[Any]]
    queries: NDArray[np.floating[Any]]
    right: NDArray[np.bool_]
    aside: NDArray[np.floating[Any]]
    words: list[str]
    drawn: AbsentWords


def embedded(name: str, data: Path, model: diptych.Model) -> Embedded:
    """Index a set, encode its queries, and draw words for absent things."""
    chosen, wordnet = SETS[name], WordNet.load()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "index"
        index(open_records(str(data / chosen.source)), model, model.run, out)
        with Index(out) as opened:
            places = np.concatenate(list(opened.places("image")))
            entries = opened.entries(places[:, 0].tolist())
            names = [entries[int(i)].name for i in places[:, 0]]
            vectors = np.asarray(opened.vectors("image"))[places[:, 1]]
            drawn = draw_absent(opened, model, model.run)
        truth, named = chosen.truth(data, names, wordnet)
        words = chosen.absent(name, named, wordnet)
        queries = sorted(truth)
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        queries = [queries[i] for i in sorted(rng.permutation(len(queries))[: 2 * QUERIES])]
        right = np.array([[n in truth[query] for n in names] for query in queries])
        asked, aside = (encoded(texts, model, model.run) for texts in (queries, words))
    return Embedded(vectors, asked, right, aside, words, drawn)


def searched(name: str, data: Path, model: diptych.Model) -> Searched:
    """Index a set, ask its queries, and draw words for absent things."""
    embedded_set = embedded(name, data, model)
    present = answers(embedded_set.entries, embedded_set.queries, embedded_set.right)
    aside = answers(embedded_set.entries, embedded_set.aside, None)
    return Searched(
        len(embedded_set.entries),
        present,
        aside,
        embedded_set.drawn.scores,
        embedded_set.words,
        int(embedded_set.right.sum()),
    )


def marks_of(part: Answers, rng: np.random.Generator, absent: AbsentScores | None, *, before: bool = False) -> Marks:
    """Return what ``tasks.search.cut`` marks of some queries; ``before``: what earlier versions did."""
    score, right, query, rank = list[float](), list[bool](), list[int](), list[int]()
    for q in range(len(part.score)):
        ranks = range(1, STRATA[0] + 1) if before else sampled_ranks(part.score.shape[1], rng)
        for r in ranks:
            score.append(float((part.standard if before else part.score)[q, r - 1]))
            right.append(bool(part.right[q, r - 1]))
            query.append(q)
            rank.append(r)
    return Marks(
        np.array(score), np.array(right), np.array(query), None if before else np.array(rank), absent,
        part.score.shape[1],
    )  # fmt: skip


def one_split(searched: Searched, seed: int, rule: str) -> dict[tuple[float, int], list[float] | str]:
    """Return (level, depth) -> stated share, low, high, realised, kept, any; or why there is no cut."""
    rng = np.random.default_rng(seed)
    half = np.zeros(len(searched.present.score), dtype=bool)
    half[rng.permutation(len(half))[: len(half) // 2]] = True
    seen, test = searched.present.part(half), searched.present.part(~half)
    if rule == "shuffled":
        seen = Answers(seen.score, seen.standard, rng.permutation(seen.right.ravel()).reshape(seen.right.shape))
    rows: dict[tuple[float, int], list[float] | str] = {}
    before = rule == "before"
    try:
        marks = marks_of(seen, rng, None if before else searched.drawn, before=before)
    except DataError as error:
        return {(level, depth): str(error) for level in LEVELS for depth in DEPTHS}
    score, aside = (a.standard if before else a.score for a in (test, searched.aside))
    for level in LEVELS:
        for depth in DEPTHS:
            try:
                cut = marks.cut(level, depth=depth)
            except DataError as error:
                rows[level, depth] = str(error)
                continue
            reach = depth if before else cut.depth  # earlier versions cut at any depth
            above = score[:, :reach] >= cut.threshold
            good = test.right[:, :reach] & above
            rows[level, depth] = [
                cut.share, cut.low, cut.high, float(good.sum() / above.sum()) if above.any() else np.nan,
                float(good.sum() / max(test.right[:, :reach].sum(), 1)), float((aside[:, 0] >= cut.threshold).mean()),
            ]  # fmt: skip
    return rows


def table(searched: Searched, rule: str) -> dict[str, Any]:
    """Return level -> depth -> means over splits, and whether the level holds."""
    every = [one_split(searched, seed, rule) for seed in RULES[rule]]
    result: dict[str, Any] = {}
    for level in LEVELS:
        rows: dict[str, Any] = {}
        for depth in DEPTHS:
            cuts = np.array([r for split in every if not isinstance(r := split[level, depth], str)])
            why = Counter(r.partition(":")[0] for split in every if isinstance(r := split[level, depth], str))
            rows[str(depth)] = {"cuts": len(cuts)} | ({"refused": why.most_common(1)[0][0]} if why else {})
            if len(cuts):
                cuts = cuts[np.isfinite(cuts[:, 3])]
                stated, low, high, realised, kept, some = cuts.mean(axis=0).tolist()
                rows[str(depth)] |= {
                    "stated": stated, "interval": [low, high], "realised": realised, "right_kept": kept, "any": some,
                    "within": float(((cuts[:, 1] <= cuts[:, 3]) & (cuts[:, 3] <= cuts[:, 2])).mean()),
                }  # fmt: skip
        counted = [r for r in rows.values() if 2 * r["cuts"] >= len(every) and "realised" in r]
        precise = [r["interval"][0] <= r["realised"] <= r["interval"][1] for r in counted]
        quiet = [r["any"] <= 1 - level + 1e-9 for r in counted]
        result[f"{level:g}"] = {
            "depths": rows, "reached": bool(counted), "precise": all(precise) if counted else None,
            "quiet": all(quiet) if counted else None, "holds": all(precise) and all(quiet) if counted else None,
        }  # fmt: skip
    return result


def measured(searched: Searched) -> dict[str, Any]:
    """Return all that is measured of a set with a backbone."""
    return {
        "entries": searched.entries, "queries": len(searched.present.score), "words_aside": len(searched.words),
        "words_drawn": len(searched.drawn.scores), **{rule: table(searched, rule) for rule in RULES},
    }  # fmt: skip


def shown(rows: dict[str, Any]) -> None:
    """Print a table."""
    for level, row in rows.items():
        for depth, r in row["depths"].items():
            if "realised" not in r:
                print(f"    {level:>4} first {depth:>3}: {r['cuts']:2} cuts; {r.get('refused', '')}")
                continue
            low, high = r["interval"]
            print(
                f"    {level:>4} first {depth:>3}: {r['cuts']:2} cuts, stated {r['stated']:.2f} ({low:.2f} to "
                f"{high:.2f}), realised {r['realised']:.2f}, kept {r['right_kept']:.2f}, any {r['any']:.2f}"
                f"{'' if row['holds'] else '  MISSED'}"
            )


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--backbones", nargs="*", default=["lite"])
    parser.add_argument("--sets", nargs="*", default=list(MEASURED), choices=list(SETS))
    parser.add_argument("--out", type=Path, default=Path("out/cut.json"))
    options = parser.parse_args(given)
    result: dict[str, Any] = {
        "seeds": {rule: len(seeds) for rule, seeds in RULES.items()},
        "command": COMMAND.format(" ".join(options.backbones)),
        "rule": " ".join(__doc__.split("\n\n")[4].split()), "backbones": {},
    }  # fmt: skip
    for backbone in options.backbones:
        model = diptych.load(backbone, cache=options.cache or True)
        sets = result["backbones"][backbone] = {}
        for name in options.sets:
            sets[name] = measured(searched(name, options.data, model))
            entries, queries = sets[name]["entries"], sets[name]["queries"]
            print(f"{backbone} {name}: {entries} entries, {queries} queries", flush=True)
            for rule in RULES:
                print(f"  {rule}")
                shown(sets[name][rule])
        good = {n: [level for level, r in s["now"].items() if r["holds"]] for n, s in sets.items()}
        missed = {n: [level for level, r in s["now"].items() if r["holds"] is False] for n, s in sets.items()}
        print(f"{backbone} holds: {good}; misses: {missed}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
