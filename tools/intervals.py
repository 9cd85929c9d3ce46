"""Simulate every interval that a command prints, and write how often it holds the truth into docs/intervals.md.

    python -m tools.intervals             # all rows: make intervals
    python -m tools.intervals WORD ...    # the rows whose interval or law holds one of the words; others stay

All draws have fixed seeds, so a row is the same on every machine up to rounding.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.support.nulls.cells import Cell
from tests.support.nulls.simulations import cells

PAGE = Path(__file__).parents[1] / "docs" / "intervals.md"
HEAD = "| interval | law | seeds | items | holds the truth in | |\n|---|---|---:|---:|---:|---|\n"
Row = tuple[str, str, int, int]
"""Interval, law, seeds and items."""


def verdict(share: float) -> str:
    """Return whether an interval that holds the truth in so many percent of runs is a right one."""
    return "too narrow" if share < 93 else "too wide" if share > 97 else "holds"


def table() -> dict[Row, float]:
    """Return the rows of the page, and the percentage of each."""
    rows = {}
    for line in PAGE.read_text(encoding="utf-8").partition(HEAD)[2].splitlines():
        name, law, seeds, items, share, _ = (cell.strip() for cell in line.strip("|").split("|"))
        rows[name, law, int(seeds), int(items)] = float(share.removesuffix(" %"))
    return rows


def main(words: list[str]) -> None:
    """Measure rows, and write the page after each, so that a run that is stopped loses one row."""
    start, measured = time.monotonic(), table()
    chosen = [c for c in cells() if not words or any(word in f"{c.name}, {c.law}" for word in words)]
    for number, cell in enumerate(chosen, 1):
        measured[_row(cell)] = round(100 * cell.share(), 1)
        _write(measured)
        share, seconds = measured[_row(cell)], time.monotonic() - start
        sys.stdout.write(f"{number} of {len(chosen)}, {seconds:.0f} s: {cell.name}, {cell.law}, {cell.items}: ")
        sys.stdout.write(f"{share} % ({verdict(share)})\n")
        sys.stdout.flush()


def _row(cell: Cell) -> Row:
    return cell.name, cell.law, cell.seeds, cell.items


def _write(measured: dict[Row, float]) -> None:
    above = PAGE.read_text(encoding="utf-8").partition(HEAD)[0]
    rows = [row for row in map(_row, cells()) if row in measured]
    lines = [
        f"| {name} | {law} | {seeds} | {items} | {measured[name, law, seeds, items]:.1f} % | "
        f"{verdict(measured[name, law, seeds, items])} |\n"
        for name, law, seeds, items in rows
    ]
    PAGE.write_text(above + HEAD + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
