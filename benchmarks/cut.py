"""Does ``search --at-least`` hold what it promises? Stated against realised shares of right answers.

    python -m benchmarks.cut --data FOLDER --out results/cut.json

Half of the queries of a data set are marked, and the cut that they allow is applied to the other half. *Realised* is
the share of right answers above the cut there. The control shuffles the marks among all marked answers.

A level counts where it lies at least 0.05 above the share of right answers without any cut, and at least half of the
splits get a cut. A set holds where some level counts, and at each the mean realised share lies within the mean
interval. The control fails, as it must, where no level counts with shuffled marks. Shown: both hold on two sets.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import diptych
from diptych.core import DataError
from diptych.data.load import open_records
from diptych.metrics.cut import Marks
from diptych.tasks.search.ask import Term, search
from diptych.tasks.search.cut import ANSWERS, mark
from diptych.tasks.search.index import index
from diptych.tasks.search.marks import Mark, read_marks

SETS = {
    "caltech40": ("caltech40", "folder", "class names are queries, 40 of them"),
    "coco_mini": ("coco_mini/images", "instances", "categories are queries; photos with an instance are right"),
    "flickr8k_small": (
        "flickr8k_small/captions.csv",
        "captions",
        "200 captions are queries; only their own photo is right",
    ),
}
LEVELS = (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9)
SEEDS = range(30)
COMMAND = "python -m benchmarks.cut --data FOLDER --out results/cut.json"
ABOVE = 0.05
"""How far a level lies above the share of right answers before a cut is worth something."""


def measured(marks: list[Mark], seed: int, *, shuffled: bool) -> dict[float, tuple[float, ...]]:
    """Return level -> (stated share, low, high, realised share, share of all right answers that are kept)."""
    rng = np.random.default_rng(seed)
    names = list(dict.fromkeys(m.query for m in marks))
    half = {names[i] for i in rng.permutation(len(names))[: len(names) // 2]}
    x, right = np.array([m.x for m in marks]), np.array([bool(m.right) for m in marks])
    query, seen = np.array([names.index(m.query) for m in marks]), np.array([m.query in half for m in marks])
    given = rng.permutation(right[seen]) if shuffled else right[seen]
    rows = {}
    for level in LEVELS:
        try:
            cut = Marks(x[seen], given, query[seen]).cut(level)
        except DataError:
            continue
        kept = ~seen & (x >= cut.threshold)
        if kept.any():
            found = right[kept].sum() / right[~seen].sum()
            rows[level] = (cut.share, cut.low, cut.high, float(right[kept].mean()), float(found))
    return rows


def table(marks: list[Mark], *, shuffled: bool) -> dict[str, Any]:
    """Return level -> means over seeds, and how often the realised share lay within the stated interval."""
    every = [measured(marks, seed, shuffled=shuffled) for seed in SEEDS]
    rows = {}
    for level in LEVELS:
        own = np.array([r[level] for r in every if level in r])
        if len(own):
            stated, low, high, realised, kept = own.mean(axis=0)
            rows[f"{level:g}"] = {
                "cuts": len(own), "stated": stated, "interval": [low, high], "realised": realised, "right_kept": kept,
                "within": float(((own[:, 1] <= own[:, 3]) & (own[:, 3] <= own[:, 2])).mean()),
                "promise_kept": float((own[:, 3] >= level - 0.05).mean()),
            }  # fmt: skip
    return rows


def counting(rows: Mapping[str, Any], share: float) -> list[str]:
    """Return the levels that count: above the share of right answers, and with cuts in half of the splits."""
    return [level for level, r in rows.items() if float(level) >= share + ABOVE and 2 * r["cuts"] >= len(SEEDS)]


def verdict(own: Mapping[str, Any]) -> dict[str, Any]:
    """Return which levels of a set count, and whether the promise holds there and is empty for shuffled marks."""
    share, rows = own["right"] / own["marks"], own["marked"]
    levels = counting(rows, share)
    held = [r["interval"][0] <= r["realised"] <= r["interval"][1] for r in map(rows.__getitem__, levels)]
    control = counting(own["shuffled"], share)
    return {
        "levels": levels, "levels_shuffled": control, "holds": bool(held) and all(held), "control_failed": not control,
    }  # fmt: skip


def marks_of_instances(folder: Path, data: Path, model: diptych.Model) -> Path:
    """Write a table of marks: the first answers to each category, right where the photo has an instance of it."""
    with (data / "coco_mini" / "instances.csv").open(newline="", encoding="utf-8") as file:
        shown: dict[str, set[str]] = {}
        for row in csv.DictReader(file):
            shown.setdefault(row["category"], set()).add(Path(row["image"]).name)
    table = folder.parent / "marks.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["query", "path", "right"])
        for category, photos in sorted(shown.items()):
            for found in search(folder, [Term(category)], model, model.run, k=ANSWERS).found:
                writer.writerow([category, found.entry.name, int(Path(found.entry.name).name in photos)])
    return table


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/cut.json"))
    options = parser.parse_args()
    model = diptych.load("lite", cache=options.cache or True)
    rule = " ".join(__doc__.split("\n\n")[3].split())
    result: dict[str, Any] = {"model": "lite", "seeds": len(SEEDS), "command": COMMAND, "rule": rule, "sets": {}}
    for name, (place, what, about) in SETS.items():
        with tempfile.TemporaryDirectory() as folder:
            index(open_records(str(options.data / place)), model, model.run, Path(folder) / "index")
            if what == "instances":
                what = str(marks_of_instances(Path(folder) / "index", options.data, model))
            mark(Path(folder) / "index", what, model, model.run)
            marks = read_marks(Path(folder) / "index")
        own = {"about": about, "marks": len(marks), "right": sum(bool(m.right) for m in marks)}
        own |= {"marked": table(marks, shuffled=False), "shuffled": table(marks, shuffled=True)}
        result["sets"][name] = own | {"verdict": verdict(own)}
    told = [own["verdict"] for own in result["sets"].values()]
    result["shown"] = sum(v["holds"] and v["control_failed"] for v in told) >= 2 and all(
        v["control_failed"] for v in told
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for name, own in result["sets"].items():
        print(f"{name}: {own['marks']} marks, {own['right']} right ({own['about']}), {own['verdict']}")
        for kind in ("marked", "shuffled"):
            for level, r in own[kind].items():
                low, high = r["interval"]
                print(
                    f"  {kind:8} {level:>4}: {r['cuts']:2} cuts, stated {r['stated']:.3f} ({low:.3f} to {high:.3f}), "
                    f"realised {r['realised']:.3f}, within {r['within']:.2f}, right answers kept {r['right_kept']:.2f}"
                )


if __name__ == "__main__":
    main()
