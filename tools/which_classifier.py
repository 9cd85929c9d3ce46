"""Write docs/which-classifier.md from the boards in results/boards: ``python tools/which_classifier.py [--check]``.

Every sentence is made from rows of boards and names them; a claim that no row carries is not made.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BOARDS, PAGE = ROOT / "results" / "boards", ROOT / "docs" / "which-classifier.md"
LEVEL = 0.05


@dataclass(frozen=True)
class Row:
    """One row of one board."""

    board: str
    dataset: str
    backbone: str
    data: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The system by the name that --methods takes."""
        return ", ".join(part for part in (self.data["method"], self.data["variant"]) if part)

    @property
    def needs(self) -> str:
        """What it was given besides names."""
        if self.data["shots"]:
            return f"{self.data['shots']} labelled photos a class"
        if self.data["images"]:
            return "photos without labels"
        return "descriptions" if self.data["extra_texts"] else "class names alone"

    @property
    def acc(self) -> float:
        """Top-1 in percent."""
        return 100 * float(self.data["metrics"]["acc1"])

    def shown(self) -> str:
        """Accuracy with its interval and its board."""
        low, high = self.data["ci95"]["acc1"]
        return f"[{self.dataset}](../results/boards/{self.board}) {self.acc:.1f} ({100 * low:.1f}-{100 * high:.1f})"

    @property
    def gains(self) -> bool:
        """Whether it beats the zero-shot ensemble after Holm's correction."""
        return self.data["gain"] is not None and self.data["gain"]["acc1"] > 0 and (self.data["p_holm"] or 1) < LEVEL


def read(folder: Path) -> list[Row]:
    """Return the rows of all boards, in the order of their file names."""
    rows = []
    for path in sorted(folder.glob("*.json")):
        board = json.loads(path.read_text(encoding="utf-8"))
        if board.get("kind") == "board":
            rows += [Row(path.name, board["dataset"], board["spec"]["name"], row) for row in board["rows"]]
    return rows


def page(rows: Sequence[Row]) -> str:
    """Return the page."""
    parts = [
        "# Which classifier should I use?",
        "",
        "Written by `tools/which_classifier.py` from the boards in `results/boards`; every number is a row there, behind its link. "
        'Top-1 in percent with 95 % intervals. "Better than zero-shot" is a paired test against the zero-shot ensemble, corrected by Holm '
        f"over the rows of its board, at {100 * LEVEL:.0f} %. On your own photos: `diptych board classify DATA --export best`.",
    ]
    for backbone in dict.fromkeys(row.backbone for row in rows):
        own = [row for row in rows if row.backbone == backbone]
        parts += ["", f"## With `{backbone}`"]
        for needs in sorted({row.needs for row in own}, key=_order):
            parts += ["", f"### If you have {needs}", "", *_section([row for row in own if row.needs == needs])]
    return "\n".join(parts) + "\n"


def _section(rows: Sequence[Row]) -> Iterator[str]:
    boards = list(dict.fromkeys(row.board for row in rows))
    best = {b: max((r for r in rows if r.board == b), key=lambda r: r.acc) for b in boards}
    wins = {name: [b for b in boards if best[b].name == name] for name in dict.fromkeys(r.name for r in best.values())}
    for name, won in sorted(wins.items(), key=lambda pair: -len(pair[1])):
        where = ", ".join(best[b].shown() for b in won)
        yield f"- `{name}` had the highest top-1 on {len(won)} of {len(boards)} sets: {where}."
    for name in dict.fromkeys(r.name for r in rows):
        own = [r for r in rows if r.name == name and r.data["gain"] is not None]
        better = [r for r in own if r.gains]
        if own:
            gains = ", ".join(f"{r.dataset} {100 * r.data['gain']['acc1']:+.1f}" for r in better)
            where = f": {gains}" if better else ""
            seconds = max(r.data["seconds"]["fit"] for r in own)
            yield f"- `{name}` is better than zero-shot on {len(better)} of {len(own)} sets{where}; fitting took {seconds:.1f} s at most."


def _order(needs: str) -> tuple[int, int]:
    first = ("class names alone", "descriptions", "photos without labels")
    return (first.index(needs), 0) if needs in first else (len(first), int(needs.split()[0]))


def main(words: Sequence[str]) -> int:
    """Write the page, or with --check say whether it is that of the boards."""
    rows = read(BOARDS)
    if not rows:
        sys.stderr.write(f"No boards in {BOARDS}: run diptych board classify, and copy its board.json there.\n")
        return 1
    text = page(rows)
    if "--check" in words:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
