"""A few rows at their whole size, one round each, beside the last committed ratios of this kind of machine.

    python -m benchmarks.guard [--only images:lite,curate:200000] [--out out/bench-quick.json]

A ratio that fell by a third is named. Nothing fails: one round on a busy machine proves no slowdown, and it says where
to look. ``python -m benchmarks --quick`` is another thing: it takes small sizes, whose ratios compare with nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.__main__ import ROWS, instructions, one, show, write

GUARDED = ("images:lite", "images:tiny", "texts:lite", "curate:200000", "dedup:20000x256")
"""Rows of a minute or two at most on two idle cores."""
RESULTS = Path(__file__).parent.parent / "results" / "bench"
FELL = 2 / 3


def committed(folder: Path, kind: str) -> dict[str, dict[str, Any]]:
    """Return name of a row -> the newest row of this kind of machine at its whole size.

    Args:
        folder: of the files that ``python -m benchmarks`` wrote.
        kind: as ``instructions`` says it.
    """
    files = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    newest: dict[str, dict[str, Any]] = {}
    for content in sorted(files, key=lambda content: str(content.get("date"))):
        if content.get("instructions") == kind and not content.get("quick"):
            newest |= {name: row for name, row in content["benchmarks"].items() if row.get("rows")}
    return newest


def beside(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return contender of ours -> ratio now, ratio then, and whether it fell by a third.

    There are none where the row failed, or the contender that others are compared with is another one.

    Example:
        >>> rows = lambda ratio: {"rows": {"script": {"ratio": 1.0}, "diptych exact": {"ratio": ratio}}}
        >>> beside(rows(1.2), rows(2.0))
        {'diptych exact': {'now': 1.2, 'committed': 2.0, 'fell': True}}
    """
    here, there = now.get("rows", {}), before.get("rows", {})
    if next(iter(here), "") != next(iter(there), ""):
        return {}
    ratios = {
        who: (row["ratio"], there[who]["ratio"])
        for who, row in here.items()
        if who.startswith("diptych") and who in there
    }
    return {who: {"now": a, "committed": b, "fell": a < FELL * b} for who, (a, b) in ratios.items()}


def lines(compared: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Sequence[str]:
    """Return what is printed of all rows."""
    return [
        f"{name:<20}{who:<24}{ratio['now']:>8.2f} x now {ratio['committed']:>8.2f} x committed"
        f"{'  FELL BY A THIRD' if ratio['fell'] else ''}"
        for name, row in compared.items()
        for who, ratio in row.items()
    ]


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print and write; always 0."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.guard", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(GUARDED), help=f"rows, separated by commas: {', '.join(ROWS)}")
    parser.add_argument("--out", type=Path, default=Path("out/bench-quick.json"))
    options = parser.parse_args(words)
    names = options.only.split(",")
    if unknown := [name for name in names if name not in ROWS]:
        parser.error(f"no row {', '.join(unknown)}: choose from {', '.join(ROWS)}")
    kind, start = instructions(), time.perf_counter()
    before, rows, compared = committed(RESULTS, kind), dict[str, Any](), dict[str, Any]()
    for name in names:
        rows[name] = one(ROWS[name], quick=False, rounds=1)
        show(name, rows[name])
        compared[name] = rows[name]["beside"] = beside(rows[name], before.get(name, {}))
        write(options.out, rows, False, 1, time.perf_counter() - start, "benchmarks.guard")
    print("", *lines(compared), sep="\n")
    if absent := [name for name in names if not compared[name]]:
        print(f"No committed ratio of {kind} stands beside {', '.join(absent)}.")
    print(f"{options.out}: load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return 0


if __name__ == "__main__":
    sys.exit(main())
