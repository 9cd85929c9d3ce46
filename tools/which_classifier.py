"""Write docs/which-classifier.md and its figures from the boards in results/boards: ``python tools/which_classifier.py [--check]``.

Every sentence and every cell is made from rows of boards and names them; a claim that no row carries is not made.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diptych import catalog
from diptych.metrics.significance import cliques, critical_difference, mean_ranks
from diptych.tasks import plots

ROOT = Path(__file__).resolve().parents[1]
BOARDS, PAGE, FIGURES = ROOT / "results" / "boards", ROOT / "docs" / "which-classifier.md", ROOT / "docs" / "figures"
LEVEL = 0.05
BASE = ("zero-shot", "ensemble")
EVIDENCE = {"texts": "descriptions", "unlabelled": "photos without labels"}
STYLE = (
    "<style>svg{--s0:#1d5f8a;--s1:#d1701f;--ink:#1b1b1a;--dim:#63625d;--line:#e2e1dc;background:#fff;font-family:sans-serif}"
    "text{fill:var(--dim);font-size:13.5px}.axis{fill:var(--ink)}.line,.gap{fill:none}.grid{stroke:var(--line)}.whisker{stroke-width:1.6}"
    ".reference{stroke:var(--dim);stroke-dasharray:5 4;stroke-width:1.6}.gap{stroke:var(--s0);opacity:.45}</style>"
)
"""A figure alone has no page to take its colours from."""


@dataclass(frozen=True)
class Row:
    """One row of one board."""

    board: str
    dataset: str
    backbone: str
    data: Mapping[str, Any]
    given: tuple[str, ...]

    @property
    def name(self) -> str:
        """The system by the name that --methods takes."""
        return ", ".join(part for part in (self.data["method"], self.data["variant"]) if part)

    @property
    def called(self) -> str:
        """The system, and what it was given besides names and labels."""
        also = [said for kind, said in EVIDENCE.items() if kind in self.given] if self.data["shots"] else []
        return f"`{self.name}`" + (f" (and {', '.join(also)})" if also else "")

    @property
    def needs(self) -> str:
        """What it was given besides names."""
        shots = self.data["shots"]
        if shots:
            return f"{shots} labelled photo{'' if shots == 1 else 's'} a class"
        return next((said for kind, said in EVIDENCE.items() if kind in self.given), "class names alone")

    @property
    def acc(self) -> float:
        """Top-1 in percent."""
        return 100 * float(self.data["metrics"]["acc1"])

    def shown(self) -> str:
        """Accuracy with its interval and its board."""
        low, high = self.data["ci95"]["acc1"]
        return f"{_link(self)} {self.acc:.1f} ({100 * low:.1f}-{100 * high:.1f})"

    @property
    def change(self) -> int:
        """1 and -1 where it beats and loses to the zero-shot ensemble after Holm's correction, else 0."""
        gain, p = self.data["gain"], self.data["p_holm"]
        return 0 if gain is None or p is None or p >= LEVEL else int(np.sign(gain["acc1"]))

    @property
    def cell(self) -> str:
        """Accuracy, bold where it is better than zero-shot, in italics where it is worse."""
        return {1: "**{}**", 0: "{}", -1: "*{}*"}[self.change].format(f"{self.acc:.1f}")


def read(folder: Path) -> tuple[list[Row], list[dict[str, Any]]]:
    """Return the rows of all boards of classify, in the order of their file names, and the boards.

    A data set may have several boards with one backbone; a row that stands on two is taken from the first.
    """
    needs = {card["slug"]: tuple(card["needs"]["evidence"]) for card in catalog.cards()}
    rows: dict[tuple[Any, ...], Row] = {}
    boards = []
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stem):
        board = json.loads(path.read_text(encoding="utf-8"))
        if board.get("kind") == "board" and board.get("verb", "classify") == "classify":
            boards.append(board)
            for r in board["rows"]:
                row = Row(path.name, board["dataset"], board["spec"]["name"], r, needs.get(r["method"], ()))
                rows.setdefault((row.backbone, row.dataset, row.name, r["shots"]), row)
    return list(rows.values()), boards


def page(rows: Sequence[Row], boards: Sequence[Mapping[str, Any]]) -> tuple[str, dict[str, str]]:
    """Return the page, and file name -> SVG of its figures."""
    parts = [
        "# Which classifier should I use?",
        "",
        "Written by `tools/which_classifier.py` from the boards in `results/boards`; every number is a row there, behind its link. "
        'Top-1 in percent, mean over seeds. "Better than zero-shot" (bold; italics where worse) is a paired test against the zero-shot '
        f"ensemble, corrected by Holm over the rows of its board, at {100 * LEVEL:.0f} %. On your own photos: "
        "`diptych board classify DATA --export best`, which chooses on val: the highest of many rows on one test set leans high. Fit "
        "seconds are the largest of a system's boards, the first encoding of its texts included, on the machines that the boards name.",
        "",
        *_short(rows),
    ]
    figures: dict[str, str] = {}
    for backbone in dict.fromkeys(row.backbone for row in rows):
        own = [row for row in rows if row.backbone == backbone]
        parts += ["", f"## With `{backbone}`"]
        for needs in sorted({row.needs for row in own}, key=_order):
            parts += ["", f"### If you have {needs}", "", *_section([row for row in own if row.needs == needs])]
        for shots in sorted({row.data["shots"] for row in own} - {0}):
            made = _ranks(own, backbone, shots)
            if made:
                words, name, svg = made
                figures[name] = svg
                parts += ["", *words]
        parts += ["", *_absent([b for b in boards if b["spec"]["name"] == backbone])]
    return "\n".join(parts).rstrip() + "\n", figures


def _short(rows: Sequence[Row]) -> Iterator[str]:
    """Yield for each backbone and need the system that is best on most sets."""
    yield "## In short"
    yield ""
    for backbone in dict.fromkeys(row.backbone for row in rows):
        own = [row for row in rows if row.backbone == backbone]
        for needs in sorted({row.needs for row in own}, key=_order):
            group = [row for row in own if row.needs == needs]
            best = _best(group)
            won = Counter(row.name for row in best.values())
            most = [name for name, n in won.items() if n == max(won.values())]
            base = {r.dataset: r for r in own if (r.data["method"], r.data["variant"]) == BASE}
            where = "; ".join(f"{r.shown()} with `{r.name}`{_against(base[b], r) if b in base else ''}" for b, r in best.items())
            names = " and ".join(f"`{name}`" for name in most)
            yield f"- `{backbone}`, {needs}: {names} had the highest top-1 on {max(won.values())} of {len(best)} sets. {where}."


def _section(rows: Sequence[Row]) -> Iterator[str]:
    sets = _sets(rows)
    place = {(row.name, row.dataset): row for row in rows}
    heads = [_links([r for r in rows if r.dataset == name]) for name in sets]
    yield f"| system | {' | '.join(heads)} | better than zero-shot | fit, s |"
    yield "|---|" + "---:|" * (len(sets) + 2)
    for name in dict.fromkeys(r.name for r in rows):
        own = [r for r in rows if r.name == name]
        cells = [place[name, one].cell if (name, one) in place else "–" for one in sets]
        compared = [r for r in own if r.data["gain"] is not None]
        better = f"{sum(r.change > 0 for r in compared)} of {len(compared)}" if compared else "–"
        yield f"| {own[0].called} | {' | '.join(cells)} | {better} | {max(r.data['seconds']['fit'] for r in own):.1f} |"


def _ranks(rows: Sequence[Row], backbone: str, shots: int) -> tuple[list[str], str, str] | None:
    """Return sentences, file name and figure of the mean ranks over the sets that have so many shots; None for fewer than two sets."""
    sets = _sets([r for r in rows if r.data["shots"] == shots])
    place = {(r.name, r.dataset): r for r in rows if r.data["shots"] in (0, shots) and r.dataset in sets}
    names = [n for n in dict.fromkeys(n for n, _ in place) if all((n, one) in place for one in sets)]
    if len(sets) < 2 or len(names) < 2:
        return None
    ranks = mean_ranks(np.array([[place[n, one].acc for n in names] for one in sets])).tolist()
    difference = critical_difference(len(names), len(sets))
    file = f"ranks-{re.sub('[^a-z0-9]+', '-', backbone.lower())}-{shots}-shot{'' if shots == 1 else 's'}.svg"
    svg = plots.critical_difference(names, ranks, difference, cliques(ranks, difference))
    svg = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace("</title>", "</title>" + STYLE, 1)
    best = names[int(np.argmin(ranks))]
    left = [n for n in dict.fromkeys(n for n, _ in place) if n not in names]
    count = f"{shots} shot{'' if shots == 1 else 's'}"
    spread = max(ranks) - min(ranks)
    said = "the first and the last differ by more" if spread > difference else "no two of them differ by more"
    words = [
        f"### Mean ranks at {count}",
        "",
        f"![Mean ranks at {count}](figures/{file})",
        "",
        f"{len(names)} systems on {len(sets)} sets ({', '.join(_links([r for r in rows if r.dataset == one]) for one in sets)}): "
        f"`{best}` ranks first ({min(ranks):.2f}). Mean ranks that lie within {difference:.2f} may differ by chance (Nemenyi's test at "
        f"5 %); {said}. Few sets make a blunt test: the paired tests above say more about each set."
        + (f" Not on all of these sets, so not ranked: {', '.join(f'`{n}`' for n in left)}." if left else ""),
    ]
    return words, file, svg


def _absent(boards: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield why rows are missing from boards, each reason once."""
    found: dict[str, dict[str, list[str]]] = {}
    elsewhere = {(board["dataset"], row.get("label")) for board in boards for row in board["rows"]}
    for board in boards:
        for label, reason in (*board.get("missing", {}).items(), *board.get("late", {}).items()):
            if (board["dataset"], label) in elsewhere:
                continue
            said = re.sub(r"^\d+ shots?, seed \d+ and what follows|^seed \d+ and what follows", "some rows", reason)
            rows = found.setdefault(re.sub(f"^{re.escape(board['dataset'])} ", "the set ", said), {})
            sets = rows.setdefault(re.sub(r", seed \d+$", "", label), [])
            if board["dataset"] not in sets:
                sets.append(board["dataset"])
    tried = {row["method"] for board in boards for row in board["rows"]}
    names = {card["slug"]: card["name"] for card in catalog.cards() if card["verb"] == "classify" and card["slug"] not in tried}
    untried = [slug for slug, name in names.items() if not any(label.startswith(name) for told in found.values() for label in told)]
    if found or untried:
        yield "### What is not there, and why"
        yield ""
    if untried:
        yield f"- Not measured yet: {', '.join(f'`{slug}`' for slug in untried)}."
    for reason, labels in found.items():
        told = "; ".join(label + " (" + ", ".join(sets) + ")" for label, sets in labels.items())
        yield f"- {told}: {reason}"


def _best(rows: Sequence[Row]) -> dict[str, Row]:
    """Return the row of highest top-1 of each data set; of equals the first."""
    return {name: max((r for r in rows if r.dataset == name), key=lambda r: r.acc) for name in _sets(rows)}


def _against(base: Row, row: Row) -> str:
    """Say what the zero-shot ensemble reached, and whether the difference is shown."""
    if base is row:
        return ""
    return f", zero-shot {base.acc:.1f}" + ("" if row.change else ", a difference not shown")


def _sets(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(r.dataset for r in rows))


def _link(row: Row) -> str:
    return f"[{row.dataset}](../results/boards/{row.board})"


def _links(rows: Sequence[Row]) -> str:
    """Return a data set with links to all of its boards."""
    first, *others = {r.board: r for r in rows}.values()
    return " ".join([_link(first), *(f"[+](../results/boards/{r.board})" for r in others)])


def _order(needs: str) -> tuple[int, int]:
    first = ("class names alone", *EVIDENCE.values())
    return (first.index(needs), 0) if needs in first else (len(first), int(needs.split()[0]))


def main(words: Sequence[str]) -> int:
    """Write the page and its figures, or with --check say whether they are those of the boards."""
    rows, boards = read(BOARDS)
    if not rows:
        sys.stderr.write(f"No boards in {BOARDS}: run diptych board classify, and copy its board.json there.\n")
        return 1
    text, figures = page(rows, boards)
    files = {PAGE: text, **{FIGURES / name: svg + "\n" for name, svg in figures.items()}}
    if "--check" in words:
        return int(any(not path.exists() or path.read_text(encoding="utf-8") != content for path, content in files.items()))
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
