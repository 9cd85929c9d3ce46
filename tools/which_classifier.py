"""Write docs/which-classifier.md and its figures from the boards in results/boards: ``python tools/which_classifier.py
[--check]``.

Every sentence and every cell is made from rows of boards and names them; a claim that no row carries is not made.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from diptych import catalog
from diptych.evaluation.pages import plots
from diptych.metrics.significance import cliques, critical_difference, holm, mean_ranks

sys.path.insert(0, str(Path(__file__).parents[1]))
from tools.board_pages import BOARDS, DOCS, LEVEL, boards, link, marked, write_or_check
from tools.which_elsewhere import elsewhere, memory

PAGE, FIGURES = DOCS / "which-classifier.md", DOCS / "figures"
MARK = "†"
"""Stands behind the number of a row that has fewer seeds than its board planned."""
BASE = ("zero-shot", "ensemble")
TWO_WAY = "2026-12-02"
"""Boards that are older hold intervals of crossed bootstraps, as ``tools.results`` has it."""
DEFAULT = "lite"
"""The backbone of the first tables: the one that a user has who names none."""
EVIDENCE = {"texts": "descriptions", "unlabelled": "photos without labels"}
STYLE = (
    "<style>svg{--s0:#1d5f8a;--s1:#d1701f;--ink:#1b1b1a;--dim:#63625d;--line:#e2e1dc;background:#fff;font-family:sans-serif}"
    "text{fill:var(--dim);font-size:13.5px}.axis{fill:var(--ink)}.line,.gap{fill:none}.grid{stroke:var(--line)}.whisker{stroke-width:1.6}"
    ".reference{stroke:var(--dim);stroke-dasharray:5 4;stroke-width:1.6}.gap{stroke:var(--s0);opacity:.45}</style>"
)
"""A figure alone has no page to take its colours from."""


@dataclass(frozen=True)
class Row:
    """One row of one board.

    Args:
        board: its file; ``dataset`` and ``backbone``: what it measured, and with what.
        data: the row as it stands there.
        given: the evidence that the system needs.
        planned: seeds that the board planned for it.
        above: 1 + p-values of the board, as corrected there, that are larger than its own.
        p: corrected over all rows of the page with its data set and backbone; None for the zero-shot ensemble.
    """

    board: str
    dataset: str
    backbone: str
    data: Mapping[str, Any]
    given: tuple[str, ...]
    planned: int
    above: int
    p: float | None = None

    @property
    def name(self) -> str:
        """The system by the name that --methods takes."""
        return ", ".join(part for part in (self.data["method"], self.data["variant"]) if part)

    @property
    def called(self) -> str:
        """The system, and what it was given besides names and labels."""
        also = [text for kind, text in EVIDENCE.items() if kind in self.given] if self.data["shots"] else []
        return f"`{self.name}`" + (f" (and {', '.join(also)})" if also else "")

    @property
    def needs(self) -> str:
        """What it was given besides names."""
        shots = self.data["shots"]
        if shots:
            return f"{shots} labelled photo{'' if shots == 1 else 's'} per class"
        return next((text for kind, text in EVIDENCE.items() if kind in self.given), "class names alone")

    @property
    def acc(self) -> float:
        """Top-1 in percent."""
        return 100 * float(self.data["metrics"]["acc1"])

    def shown(self) -> str:
        """Accuracy with its interval and its board."""
        low, high = self.data["ci95"]["acc1"]
        return f"{_link(self)} {self.acc:.1f} ({100 * low:.1f}-{100 * high:.1f})"

    @property
    def short(self) -> bool:
        """Whether the board was cut before it had all seeds: then it is no mean over them, and nothing is
        claimed of it.
        """
        return len(self.data["seeds"]) < self.planned

    @property
    def change(self) -> int:
        """1 and -1 where it beats and loses to the zero-shot ensemble after Holm's correction, else 0."""
        return 0 if self.short or self.p is None or self.p >= LEVEL else int(np.sign(self.data["gain"]["acc1"]))

    @property
    def cell(self) -> str:
        """Accuracy, bold where it is better than zero-shot, in italics where it is worse, marked where it has
        fewer seeds.
        """
        return marked(f"{self.acc:.1f}", self.change) + (MARK if self.short else "")


def read(folder: Path) -> tuple[list[Row], list[dict[str, Any]]]:
    """Return the rows of all boards of classify, those of ``DEFAULT`` first, else in the order of their file names, and
    the boards.

    A data set may have several boards with one backbone; a row that stands on two is taken from the first that has all
    its seeds.
    """
    needs = {card["slug"]: tuple(card["needs"]["evidence"]) for card in catalog.cards()}
    rows: dict[tuple[Any, ...], Row] = {}
    found = []
    for name, board in boards(folder, "classify"):
        found.append(board)
        for r in board["rows"]:
            given, planned = needs.get(r["method"], ()), len(_planned(board, r))
            above = 1 + sum((other["p_holm"] or 0) > (r["p_holm"] or 0) for other in board["rows"])
            row = Row(name, board["dataset"], board["spec"]["name"], r, given, planned, above)
            key = (row.backbone, row.dataset, row.name, r["shots"])
            if key not in rows or (rows[key].short and not row.short):
                rows[key] = row
    return sorted(_corrected(list(rows.values())), key=lambda row: row.backbone != DEFAULT), found


def _planned(board: Mapping[str, Any], row: Mapping[str, Any]) -> list[int]:
    """Return the seeds that a board planned for a row: a system that draws nothing has the seed 0 alone."""
    return [0] if row["shots"] == 0 and row["seeds"] == [0] else list(board["seeds"])


def _corrected(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with their p-values corrected by Holm over all that share a data set and a backbone, however
    boards were cut.

    A board that holds no raw p-value holds (M - i + 1) p of the i-th smallest of M, or more where a smaller p gave
    more. So a raw p is at
    most the corrected one over (M - i + 1), and that is what is corrected anew. Of rows whose corrected ones are equal
    it is not known
    which is the larger: the largest bounds are theirs, and all get the largest p that comes of these.
    """
    found = list(rows)
    for board in {(r.backbone, r.dataset): None for r in rows}:
        places = [i for i, r in enumerate(rows) if (r.backbone, r.dataset) == board and r.data["p_holm"] is not None]
        ties: dict[tuple[Any, ...], list[int]] = {}
        raw = []
        for n, i in enumerate(places):
            data = rows[i].data
            tie = ties.setdefault((n,) if "p" in data else (rows[i].board, data["p_holm"]), [])
            raw.append(
                data["p"]
                if "p" in data
                else data["p_holm"]
                if data["p_holm"] >= 1
                else data["p_holm"] / (rows[i].above + len(tie))
            )
            tie.append(n)
        adjusted = holm(raw)
        for tie in ties.values():
            for n in tie:
                found[places[n]] = replace(rows[places[n]], p=max(adjusted[m] for m in tie))
    return found


_RAW = (
    "Some boards only have p-values corrected over their own rows. For these the largest raw p-value that such a one "
    "allows is used, so a difference may be missed, but none is invented. "
)


def page(rows: Sequence[Row], boards: Sequence[Mapping[str, Any]]) -> tuple[str, dict[str, str]]:
    """Return the page, and file name -> SVG of its figures."""
    parts = ["# Which classifier should I use?", "", *_acting(rows), *_older(boards)]
    ranked: list[str] = []
    figures: dict[str, str] = {}
    for backbone in dict.fromkeys(row.backbone for row in rows):
        chosen = [row for row in rows if row.backbone == backbone]
        parts += ["", f"## With `{backbone}`"]
        for needs in sorted({row.needs for row in chosen}, key=_order):
            parts += ["", f"### If you have {needs}", "", *_section([row for row in chosen if row.needs == needs])]
        if table := list(_without_val(chosen, backbone)):
            parts += ["", *table]
        for shots in sorted({row.data["shots"] for row in chosen} - {0}):
            ranks = _ranks(chosen, backbone, shots)
            if ranks:
                words, name, svg = ranks
                figures[name] = svg
                ranked += ["", *words]
        parts += ["", *_absent([b for b in boards if b["spec"]["name"] == backbone])]
    parts += ["", *elsewhere(list(dict.fromkeys(row.backbone for row in rows)))]
    parts += ["", "## How the numbers were made", "", *_reading(rows), "", *_short(rows), *ranked]
    return re.sub("\n{3,}", "\n\n", "\n".join(parts).rstrip()) + "\n", figures


def _acting(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line for each need with the first backbone: what to use, what it gains and what it costs."""
    backbone = rows[0].backbone
    chosen = [row for row in rows if row.backbone == backbone]
    base = {r.dataset: r for r in chosen if (r.data["method"], r.data["variant"]) == BASE}
    yield f"| you have | use, with `{backbone}` | gain over class names alone, in points | time to fit |"
    yield "|---|---|---|--:|"
    for needs in sorted({row.needs for row in chosen}, key=_order):
        yield _advice(needs, [row for row in chosen if row.needs == needs], base)
    yield ""
    yield (
        "The gain is the mean over the data sets of the tables below, with its range. It is that of the system with "
        "the highest mean among those measured on most sets. *Better on* counts the sets where it beats class names "
        f"alone at the {100 * LEVEL:.0f} % level. If these are fewer than half, class names alone are recommended. The "
        "best of many measured values is biased upwards, so measure on your own photos: `diptych recommend DATA` "
        "compares the quick systems, and `diptych board classify DATA "
        "--export best` runs all systems and chooses on photos apart from test. Boards of "
        "3 December 2026, all with `lite` among them, were run beside other work, so their times are long. With `lite` "
        "labelled photos are [drawn ten times](decisions/2026-12-03-ten-draws.md), with other models three times, "
        "which says little about how far draws differ. " + memory([row.data for row in chosen])
    ).rstrip()


def _older(boards: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield how many boards are older than two-way intervals, and what is wrong with them; nothing where there is none.

    Example:
        >>> old, new = ({"date": f"2026-{day}", "spec": {"name": "tiny"}} for day in ("11-25", "12-03"))
        >>> "".join(_older([old, new])).split(" of ")[0], list(_older([new]))
        ('1', [])
    """
    counts = Counter(board["spec"]["name"] for board in boards if str(board.get("date", "")) < TWO_WAY)
    if counts:
        words = ", ".join(f"{count} of `{name}`" for name, count in sorted(counts.items()))
        yield ""
        yield (
            f"{words} are boards of before {TWO_WAY}. Their intervals over draws are too narrow "
            "([why](decisions/2026-12-01-intervals.md)), and if several C were equally good on val, their "
            "`linear-probe` took the smallest."
        )


def _advice(needs: str, rows: Sequence[Row], base: Mapping[str, Row]) -> str:
    """Return the line of one need."""
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        if not row.short and row.dataset in base and row is not base[row.dataset]:
            by_name.setdefault(row.name, []).append(row)
    most = max(map(len, by_name.values()), default=0)
    gains = {
        name: [r.acc - base[r.dataset].acc for r in chosen] for name, chosen in by_name.items() if len(chosen) == most
    }
    plain = f"| {needs} | `{', '.join(BASE)}` | "
    if not gains:
        longest = max((r.data["seconds"]["fit"] for r in base.values()), default=0)
        return f"{plain}nothing else was measured | {longest:.1f} s |"
    best = max(gains, key=lambda name: float(np.mean(gains[name])))
    shown = sum(r.change > 0 for r in by_name[best])
    mean, low, high = np.mean(gains[best]), min(gains[best]), max(gains[best])
    line = f"{mean:+.1f} ({low:+.1f} to {high:+.1f}), better on {shown} of {most} sets"
    if 2 * shown < most:
        seconds = max((r.data["seconds"]["fit"] for r in base.values()), default=0)
        return f"{plain}best alternative `{best}`: {line} | {seconds:.1f} s |"
    fit_seconds = max(r.data["seconds"]["fit"] for r in by_name[best])
    return f"| {needs} | {by_name[best][0].called} | {line} | {fit_seconds:.1f} s |"


def _reading(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what the numbers of the tables mean."""
    cut = any(row.short for row in rows)
    yield (
        "`tools/which_classifier.py` writes this page from the boards in `results/boards`; every number links to its "
        'row there. Numbers are top-1 in percent, means over seeds. "Better than zero-shot" (bold; italics if worse) '
        "is a paired test against the zero-shot ensemble, corrected by Holm over all rows of a set with a backbone, "
        f"whatever boards they are on, at the {100 * LEVEL:.0f} % level. "
        + (_RAW if any("p" not in row.data for row in rows if row.p is not None) else "")
        + (
            f"A number with {MARK} has fewer seeds than planned, so it is neither called better or worse nor ranked. "
            if cut
            else ""
        )
        + "Fit seconds are the largest of a system's boards, on the machines that the boards name. Rows without "
        "`texts` among their seconds include the first encoding of texts."
    )


def _short(rows: Sequence[Row]) -> Iterator[str]:
    """Yield for each backbone and need the system that is best on most sets, of the rows that have all seeds."""
    yield "### Best on each set"
    yield ""
    for backbone in dict.fromkeys(row.backbone for row in rows):
        chosen = [row for row in rows if row.backbone == backbone]
        for needs in sorted({row.needs for row in chosen}, key=_order):
            best = _best([row for row in chosen if row.needs == needs and not row.short])
            if not best:
                continue
            won = Counter(row.name for row in best.values())
            most = [name for name, n in won.items() if n == max(won.values())]
            base = {r.dataset: r for r in chosen if (r.data["method"], r.data["variant"]) == BASE}
            where = "; ".join(
                f"{r.shown()} with `{r.name}`{_against(base[b], r) if b in base else ''}" for b, r in best.items()
            )
            names = " and ".join(f"`{name}`" for name in most)
            sets = f"{max(won.values())} of {len(best)} sets"
            yield f"- `{backbone}`, {needs}: {names} had the highest top-1 on {sets}. {where}."


def _section(rows: Sequence[Row]) -> Iterator[str]:
    sets = _sets(rows)
    place = {(row.name, row.dataset): row for row in rows}
    heads = [_links([r for r in rows if r.dataset == name]) for name in sets]
    yield f"| system | {' | '.join(heads)} | better than zero-shot | fit, s |"
    yield "|---|" + "---:|" * (len(sets) + 2)
    for name in dict.fromkeys(r.name for r in rows):
        chosen = [r for r in rows if r.name == name]
        cells = [place[name, one].cell if (name, one) in place else "–" for one in sets]
        compared = [r for r in chosen if r.data["gain"] is not None and not r.short]
        better = f"{sum(r.change > 0 for r in compared)} of {len(compared)}" if compared else "–"
        fit_seconds = max(r.data["seconds"]["fit"] for r in chosen)
        yield f"| {chosen[0].called} | {' | '.join(cells)} | {better} | {fit_seconds:.1f} |"
    cut: dict[str, list[str]] = {}
    for r in rows:
        if r.short:
            cut.setdefault(f"{len(r.data['seeds'])} of {r.planned} on {r.dataset}", []).append(f"`{r.name}`")
    if cut:
        yield ""
        yield f"{MARK} Fewer seeds: {'; '.join(f'{seeds} for ' + ', '.join(names) for seeds, names in cut.items())}."


NO_VAL = "no val"
"""Variant of cards whose settings are fixed for all data sets."""


def _without_val(rows: Sequence[Row], backbone: str) -> Iterator[str]:
    """Yield the table of systems with settings that are fixed for all sets, beside those that choose them on val."""
    place = {(r.data["method"], r.data["variant"], r.data["shots"], r.dataset): r for r in rows if not r.short}
    pairs = [(key, row) for key, row in place.items() if key[1] == NO_VAL and (key[0], "", *key[2:]) in place]
    if not pairs:
        return
    sets = list(dict.fromkeys(key[3] for key, _ in pairs))
    yield f"### Without a validation set, with `{backbone}`"
    yield ""
    yield (
        "These rows use the same settings for all data sets, as `diptych board classify DATA --val none` does. In "
        "brackets: what choosing them on val photos (up to 4 per class) adds, in points. The settings of "
        "`linear-probe`, `tip-adapter`, `tip-adapter-f` and `gda` were chosen on caltech40, ucmerced21 and two domains "
        "of pacs_large ([all that were tried](../results/fixed-settings.json)), so only cifar10_large and "
        "clothing_large had no part in the choice. For `lp-plus-plus`, val only decides when it stops."
    )
    yield ""
    yield f"| system | shots | {' | '.join(sets)} |"
    yield "|---|--:|" + "---:|" * len(sets)
    for method, shots in sorted({(key[0], key[2]) for key, _ in pairs}):
        cells = []
        for name in sets:
            fixed, val = (place.get((method, variant, shots, name)) for variant in (NO_VAL, ""))
            cells.append("–" if fixed is None or val is None else f"{fixed.acc:.1f} ({val.acc - fixed.acc:+.1f})")
        yield f"| `{method}` | {shots} | {' | '.join(cells)} |"


def _ranks(rows: Sequence[Row], backbone: str, shots: int) -> tuple[list[str], str, str] | None:
    """Return sentences, file name and figure of the mean ranks over the sets that have so many shots; None for fewer
    than two sets.

    A row with fewer seeds counts as none.
    """
    sets = _sets([r for r in rows if r.data["shots"] == shots and not r.short])
    within = [r for r in rows if r.data["shots"] in (0, shots) and r.dataset in sets]
    place = {(r.name, r.dataset): r for r in within if not r.short}
    names = [n for n in dict.fromkeys(r.name for r in within) if all((n, one) in place for one in sets)]
    if len(sets) < 2 or len(names) < 2:
        return None
    ranks = mean_ranks(np.array([[place[n, one].acc for n in names] for one in sets])).tolist()
    difference = critical_difference(len(names), len(sets))
    file = f"ranks-{re.sub('[^a-z0-9]+', '-', backbone.lower())}-{shots}-shot{'' if shots == 1 else 's'}.svg"
    svg = plots.critical_difference(names, ranks, difference, cliques(ranks, difference))
    svg = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace("</title>", "</title>" + STYLE, 1)
    best = names[int(np.argmin(ranks))]
    left = [n for n in dict.fromkeys(r.name for r in within) if n not in names]
    cut = [one for one in _sets([r for r in rows if r.data["shots"] == shots]) if one not in sets]
    count = f"{shots} shot{'' if shots == 1 else 's'}"
    spread = max(ranks) - min(ranks)
    verdict = "the first and the last differ by more" if spread > difference else "no two of them differ by more"
    words = [
        f"### Mean ranks at {count} with `{backbone}`",
        "",
        f"![Mean ranks at {count} with {backbone}](figures/{file})",
        "",
        f"{len(names)} systems on {len(sets)} sets "
        f"({', '.join(_links([r for r in rows if r.dataset == one]) for one in sets)}): "
        f"`{best}` ranks first ({min(ranks):.2f}). Mean ranks within {difference:.2f} of each other may differ by "
        f"chance (Nemenyi's test at 5 %); {verdict}. This test has little power on few sets: the paired tests in the "
        "tables above say more about each set."
        + (
            f" Not ranked, as not on all of these sets with all seeds: {', '.join(f'`{n}`' for n in left)}."
            if left
            else ""
        )
        + (f" Sets left out, as every row there has fewer seeds: {', '.join(cut)}." if cut else ""),
    ]
    return words, file, svg


def _absent(boards: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield why rows, or seeds of them, are on no board of their set, each reason once."""
    reasons: dict[str, dict[str, list[str]]] = {}
    there: dict[tuple[str, str], dict[int, bool]] = {}  # set, label -> shots -> whether some board has all its seeds
    for board in boards:
        for row in board["rows"]:
            shots = there.setdefault((board["dataset"], row["label"]), {})
            shots[row["shots"]] = shots.get(row["shots"], False) or len(row["seeds"]) == len(_planned(board, row))
    for board in boards:
        for key, reason in (*board.get("missing", {}).items(), *board.get("late", {}).items()):
            label, at, reason_text, wanted = _cut(key, reason, board["shots"])
            elsewhere = there.get((board["dataset"], label), {})
            if (
                all(elsewhere.get(s) for s in wanted)
                if at is not None
                else 0 in elsewhere or set(wanted) <= set(elsewhere)
            ):
                continue
            rows = reasons.setdefault(re.sub(f"^{re.escape(board['dataset'])} ", "the set ", reason_text), {})
            sets = rows.setdefault(label + (at or ""), [])
            if board["dataset"] not in sets:
                sets.append(board["dataset"])
    tried = {row["method"] for board in boards for row in board["rows"]}
    names = {
        card["slug"]: card["name"]
        for card in catalog.cards()
        if card["verb"] == "classify" and card["slug"] not in tried
    }
    untried = [
        slug
        for slug, name in names.items()
        if not any(label.startswith(name) for labels_of in reasons.values() for label in labels_of)
    ]
    if reasons or untried:
        yield "### Not measured, and why"
        yield ""
    if untried:
        yield f"- Not measured yet: {', '.join(f'`{slug}`' for slug in untried)}."
    for reason, labels in reasons.items():
        line = "; ".join(label + " (" + ", ".join(sets) + ")" for label, sets in labels.items())
        yield f"- {line}: {reason}"


def _cut(key: str, reason: str, shots: Sequence[int]) -> tuple[str, str | None, str, list[int]]:
    """Return of one entry of a board the label, from where on it lacks runs (None: it has none at all), why, and
    the shots it lacks.
    """
    late = re.match(r"((?:(\d+) shots?, )?seed \d+ and what follows) (left out: .*)", reason, re.DOTALL)
    if late:
        first = int(late[2] or 0)
        return key, f", {late[1]}", late[3], [s for s in shots if s >= first] if first else [0]
    run = re.fullmatch(r"(.*?)(, (\d+) shots?)?, seed \d+", key)
    return (run[1], run[2] or "", reason, [int(run[3] or 0)]) if run else (key, None, reason, list(shots))


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
    return link(row.dataset, row.board)


def _links(rows: Sequence[Row]) -> str:
    """Return a data set with links to all of its boards."""
    first, *others = {r.board: r for r in rows}.values()
    return " ".join([_link(first), *(f"[+](../results/boards/{r.board})" for r in others)])


def _order(needs: str) -> tuple[int, int]:
    first = ("class names alone", *EVIDENCE.values())
    return (first.index(needs), 0) if needs in first else (len(first), int(needs.split()[0]))


def main(words: Sequence[str]) -> int:
    """Write the page and its figures, or with --check say whether they are those of the boards."""
    rows, every = read(BOARDS)
    if not rows:
        sys.stderr.write(f"No boards in {BOARDS}: run diptych board classify, and copy its board.json there.\n")
        return 1
    text, figures = page(rows, every)
    files = {PAGE: text, **{FIGURES / name: svg + "\n" for name, svg in figures.items()}}
    return write_or_check(files, words, "which_classifier.py")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
