"""Write docs/which-objective.md from the boards of pretrain in results/boards: ``python tools/which_objective.py
[--check]``.

Every sentence and every cell is made from rows of boards; a claim that no row carries is not made.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diptych import catalog
from diptych.metrics.significance import holm

sys.path.insert(0, str(Path(__file__).parents[1]))
from tools.board_pages import BOARDS, DOCS, LEVEL, boards, link, marked, write_or_check
from tools.site import PARTS

PAGE = DOCS / "which-objective.md"
SETS = "acc1 on "
TASKS: Mapping[str, tuple[str, str]] = {
    "recall_at_1": ("find pictures by words, and words by pictures", "R@1"),
    SETS: ("name whole pictures by class names", "zero-shot"),
    "region_accuracy": ("name boxes", "boxes"),
    "crop_accuracy": ("name crops", "crops"),
    "slot_accuracy": ("name boxes by the model's own slots", "slots"),
    "dense_probe_miou": ("tell what lies where, by a linear probe", "dense mIoU"),
}
"""Metric -> what it is good for, and its heading; names of sets stand behind ``SETS``."""
UNITS = {"steps": "steps", "seconds": "s", "epochs": "epochs"}
"""Setting that ends a training -> its unit."""
ADVISED = ("recall_at_1", SETS, "region_accuracy", "dense_probe_miou")


@dataclass(frozen=True)
class Score:
    """One metric of one row, in percent.

    Args:
        value, ends: with the interval.
        gain, gain_ends: over the base at the same length; None for the base itself.
        p: of the gain, corrected by Holm over all metrics and rows of the board; None without a gain.
    """

    value: float
    ends: tuple[float, float]
    gain: float | None = None
    gain_ends: tuple[float, float] = (0.0, 0.0)
    p: float | None = None

    @property
    def change(self) -> int:
        """1 and -1 where it is shown to be better and worse than the base, else 0."""
        return 0 if self.gain is None or self.p is None or self.p >= LEVEL else int(np.sign(self.gain))


@dataclass(frozen=True)
class Row:
    """One objective at one length.

    Args:
        name: what --methods takes.
        length: of its training; "": of the start.
        scores: metric -> score.
        steps, seconds: of a training; None: nothing was trained.
    """

    name: str
    length: str
    scores: Mapping[str, Score]
    steps: float | None
    seconds: float | None


@dataclass(frozen=True)
class Board:
    """One board.

    Args:
        file: its name.
        data: as it stands there.
        rows: of it.
    """

    file: str
    data: Mapping[str, Any]
    rows: tuple[Row, ...]

    @property
    def base(self) -> str:
        """What gains are over."""
        return str(self.data["base"])

    @property
    def title(self) -> str:
        """The data, as the command names them, and where the trainings start."""
        return f"{link(shlex.split(self.data['command'])[3], self.file)} with `{self.data['backbone']}`"

    @property
    def lengths(self) -> tuple[str, ...]:
        """Lengths of the trainings, in order."""
        return tuple(self.data["lengths"])

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of the rows, in the order of ``TASKS``."""
        there = dict.fromkeys(m for r in self.rows for m in r.scores)
        return tuple(m for task in TASKS for m in there if m == task or (task == SETS and m.startswith(SETS)))

    def row(self, name: str, length: str) -> Row | None:
        """Return the row of an objective at a length; None where there is none."""
        return next((r for r in self.rows if (r.name, r.length) == (name, length)), None)

    def trained(self, length: str) -> list[Row]:
        """Return the rows of trainings of a length, best first."""
        return [r for r in self.rows if r.length == length and r.seconds is not None]


def read(folder: Path) -> list[Board]:
    """Return the boards of pretrain that compare objectives with one another, in the order of their file names."""
    boards_of = [(name, _numbers_of(data)) for name, data in boards(folder, "pretrain") if data["base"] != "before"]
    return [Board(name, data, _rows(data)) for name, data in boards_of]


def _numbers_of(board: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the board with the name of its length, where trainings of one length have none."""
    if board.get("lengths"):
        return board
    fit = board["fit"]
    name = next(f"{fit[unit]:g} {short}" for unit, short in UNITS.items() if fit.get(unit))
    rows = [{**r, "length": name} if r.get("train_seconds") is not None else r for r in board["rows"]]
    return {**board, "lengths": {name: fit}, "rows": rows}


def _rows(board: Mapping[str, Any]) -> tuple[Row, ...]:
    metric = board["metric"]
    raw: list[tuple[str, str, dict[str, Any], Mapping[str, Any]]] = []
    for r in board["rows"]:
        score = {"value": r[metric], "ci95": r["ci95"], "gain": _renamed(r["gain"], metric)}
        kept = {n: s for n, s in r.get("parts", {}).items() if n in TASKS or n.startswith(SETS)}
        if kept.get("crop_accuracy") == kept.get("region_accuracy"):
            kept.pop("crop_accuracy", None)  # without a prompter boxes are crops: one test, not two
        name = ":".join(part for part in (r["method"], r["variant"]) if part)
        raw.append((name, r.get("length", ""), {metric: score, **kept}, r))
    places = [(i, m) for i, (_, _, scores, _) in enumerate(raw) for m, s in scores.items() if s["gain"] is not None]
    adjusted = dict(zip(places, holm([raw[i][2][m]["gain"]["p"] for i, m in places]), strict=True))
    return tuple(
        Row(
            name,
            length,
            {m: _score(s, adjusted.get((i, m))) for m, s in scores.items()},
            r.get("steps"),
            r.get("train_seconds"),
        )
        for i, (name, length, scores, r) in enumerate(raw)
    )


def _renamed(gain: Mapping[str, Any] | None, metric: str) -> dict[str, Any] | None:
    return None if gain is None else {"value": gain[metric], "ci95": gain["ci95"], "p": gain["p"]}


def _score(score: Mapping[str, Any], p: float | None) -> Score:
    low, high = (100 * v for v in score["ci95"])
    gain = score["gain"]
    if gain is None:
        return Score(100 * score["value"], (low, high))
    ends = (100 * gain["ci95"][0], 100 * gain["ci95"][1])
    return Score(100 * score["value"], (low, high), 100 * gain["value"], ends, p)


def page(every: Sequence[Board]) -> str:
    """Return the page."""
    parts = ["# Which objective should I train with?", ""]
    for board in every:
        parts += [f"On {board.title}:", "", *_acting(board), ""]
    parts += [
        "*Shown* means significant after Holm's correction over all rows and metrics of a board. The intervals in "
        "brackets are not corrected, so one that lies above 0 is not enough."
    ]
    for board in every:
        parts += ["", f"## {board.title}", "", *_about(board)]
        for length in board.lengths:
            parts += ["", f"### At equal {'seconds' if _timed(board, length) else 'steps'}: {length}", ""]
            parts += _table(board, length)
        parts += ["", "### What a step costs", "", *_costs(board)]
        parts += ["", "### Gains and their intervals", "", *_statistics(board)]
        parts += ["", *_absent(board)]
    parts += ["", "## How the numbers were made", "", *_reading(every)]
    return re.sub("\n{3,}", "\n\n", "\n".join(parts).rstrip()) + "\n"


def _timed(board: Board, length: str) -> bool:
    return board.data["lengths"][length].get("seconds") is not None


def _acting(board: Board) -> Iterator[str]:
    """Yield six lines: one for each task, one for what a step costs, one for training at all."""
    yield f"| you want to | use, after {' and '.join(board.lengths)} | over `{board.base}`, in points |"
    yield "|---|---|---|"
    for task in ADVISED:
        metrics = [m for m in board.metrics if m == task or (task == SETS and m.startswith(SETS))]
        if metrics:
            yield _advice(board, task, metrics[0])
    yield _cheapest(board)
    yield _at_all(board)


def _gain(score: Score) -> str:
    return "" if score.gain is None else f"{score.gain:+.1f} ({score.gain_ends[0]:+.1f} to {score.gain_ends[1]:+.1f})"


def _advice(board: Board, task: str, metric: str) -> str:
    """Return the line of one task: what is shown to be better at all lengths and has the highest mean gain."""
    gains = {
        name: scores
        for name in dict.fromkeys(r.name for r in board.rows if r.seconds is not None and r.name != board.base)
        if len(scores := _of(board, name, metric)) == len(board.lengths)
    }
    if not gains:
        return f"| {TASKS[task][0]} | `{board.base}` | nothing else was measured |"
    shown = {n: s for n, s in gains.items() if all(one.change > 0 for one in s.values())}
    pool = shown or gains
    best = max(pool, key=lambda n: float(np.mean([s.gain or 0.0 for s in pool[n].values()])))
    line = "; ".join(f"{_gain(score)} after {length}" for length, score in pool[best].items())
    if shown:
        return f"| {TASKS[task][0]} | `{best}` | {line} |"
    return f"| {TASKS[task][0]} | `{board.base}`: nothing is shown to be better | the best other, `{best}`: {line} |"


def _of(board: Board, name: str, metric: str) -> dict[str, Score]:
    """Return length -> score of an objective, of the lengths at which it was measured."""
    rows = {length: board.row(name, length) for length in board.lengths}
    return {length: r.scores[metric] for length, r in rows.items() if r is not None and metric in r.scores}


def _paces(board: Board) -> dict[str, float]:
    """Return the seconds of a step of each objective over those of the base, where steps were equal."""
    length = next((n for n in board.lengths if not _timed(board, n)), None)
    base = None if length is None else board.row(board.base, length)
    if length is None or base is None or not base.steps:
        return {}
    pace = float(base.seconds or 0) / float(base.steps)
    return {r.name: float(r.seconds or 0) / float(r.steps) / pace for r in board.trained(length) if r.steps}


def _cheapest(board: Board) -> str:
    paces = {n: p for n, p in _paces(board).items() if n != board.base}
    if not paces:
        return "| spend little | no equal steps were measured | |"
    least, most = min(paces, key=lambda n: paces[n]), max(paces, key=lambda n: paces[n])
    return (
        f"| spend little | `{least if paces[least] < CHEAPER else board.base}` | a step of `{least}` takes "
        f"{paces[least]:.2f} of the time, of `{most}` {paces[most]:.2f} |"
    )


def _at_all(board: Board) -> str:
    """Return the line that says what the base changes of the start."""
    start = board.row("before", "")
    if start is None:
        return "| know what training changes | the start was not measured | |"
    length = board.lengths[0]
    base = board.row(board.base, length)
    if base is None:
        return "| know what training changes | the base was not measured | |"
    changes = [
        f"{_title(m)} {start.scores[m].value:.1f} to {base.scores[m].value:.1f}"
        for m in board.metrics
        if m in start.scores and m in base.scores
    ]
    return f"| know what training changes | `{board.base}`, {length} | {'; '.join(changes)}: not tested |"


def _about(board: Board) -> Iterator[str]:
    d = board.data
    fit = next(iter(d["lengths"].values()))
    regions = d.get("regions") or {}
    region_text = f", {regions['boxes']} boxes among {regions['names']} phrases" if regions else ""
    yield (
        f"All objectives start from the weights of `{d['backbone']}` and train {_parts(d['parts'])} on {d['train']} "
        f"pictures with captions, in batches of {fit['batch']} at a rate of {fit['lr']:g}, "
        f"which is tuned for none of them; {d['items']} other pictures "
        f"are measured{region_text}. {len(d['seeds'])} seeds."
        + _new_parts(board)
        + (
            f" A probe that calls all cells background has an mIoU of {100 * regions['background_alone']:.1f}."
            if "background_alone" in regions
            else ""
        )
    )


CHEAPER = 0.9
"""Share of the base's time from which on a step counts as cheaper: clocks vary by a few percent."""
NEW = {"cloc": "a prompter", "grain": "a decoder of slots in the place of the image tower's pooling"}
"""Systems whose image or region vectors come from a part that no pretrained tower has -> the part."""


def _new_parts(board: Board) -> str:
    there = {r.name.partition(":")[0] for r in board.rows}
    notes = [f"`{slug}` begins with {part} that is new" for slug, part in NEW.items() if slug in there]
    return f" {', and '.join(notes)}, so short trainings cost it more than others." if notes else ""


def _parts(parts: str) -> str:
    return {"all": "both towers", "heads": "linear heads on frozen towers"}.get(parts, f"the {parts} tower")


def _title(metric: str) -> str:
    name = metric.removeprefix(SETS)
    return TASKS[metric][1] if metric in TASKS else f"{TASKS[SETS][1]}, {name}"


def _table(board: Board, length: str) -> Iterator[str]:
    yield f"| objective | {' | '.join(map(_title, board.metrics))} | steps | s |"
    yield "|---|" + "---:|" * (len(board.metrics) + 2)
    rows = board.trained(length)
    for row in [*rows, *([start] if (start := board.row("before", "")) else [])]:
        cells = [_cell(row.scores.get(m)) for m in board.metrics]
        spent = ["–", "–"] if row.seconds is None else [f"{row.steps:.0f}", f"{row.seconds:.1f}"]
        yield f"| `{row.name}` | {' | '.join([*cells, *spent])} |"


def _cell(score: Score | None) -> str:
    return "–" if score is None else marked(f"{score.value:.1f}", score.change)


def _costs(board: Board) -> Iterator[str]:
    paces = _paces(board)
    if not paces:
        yield "No equal steps were measured."
        return
    line = ", ".join(f"`{n}` {p:.2f}" for n, p in sorted(paces.items(), key=lambda pair: pair[1]))
    yield f"Seconds of a step, that of `{board.base}` being 1: {line}."


def _statistics(board: Board) -> Iterator[str]:
    yield f"| objective | length | {' | '.join(map(_title, board.metrics))} |"
    yield "|---|---|" + "---|" * len(board.metrics)
    for length in board.lengths:
        for row in board.trained(length):
            yield f"| `{row.name}` | {length} | {' | '.join(_interval(row.scores.get(m)) for m in board.metrics)} |"


def _interval(score: Score | None) -> str:
    if score is None:
        return "–"
    line = f"{score.value:.1f} ({score.ends[0]:.1f}-{score.ends[1]:.1f})"
    if score.gain is None:
        return line
    p = "<.001" if (score.p or 0) < 0.001 else f"{score.p:.3f}".lstrip("0")
    return f"{line}; {_gain(score)}, p {p}"


def _absent(board: Board) -> Iterator[str]:
    """Yield which objectives are not on the board, and why."""
    on = {r.name.partition(":")[0] for r in board.rows}
    notes: dict[str, list[str]] = {}
    for label, reason in (*board.data["missing"].items(), *board.data["late"].items()):
        notes.setdefault(reason, []).append(label)
    named = {label.partition(",")[0].partition(":")[0] for labels in notes.values() for label in labels}
    others = [c for c in catalog.cards() if c["verb"] == "pretrain" and c["slug"] not in on | named]
    for card in others:
        parts = " and ".join(PARTS[part] for part in card["needs"]["parts"])
        notes.setdefault(f"needs {parts}, which this board has not." if parts else "", []).append(f"`{card['slug']}`")
    unasked = notes.pop("", [])
    if notes or unasked:
        yield "### What is not there"
        yield ""
    for reason, labels in notes.items():
        yield f"- {'; '.join(labels)}: {reason}"
    if unasked:
        yield f"- Not asked for in this board's command: {', '.join(unasked)}."


def _reading(every: Sequence[Board]) -> Iterator[str]:
    commands = "; ".join(f"`{b.data['command']}`" for b in every)
    yield (
        "Written by `tools/which_objective.py` from the boards of `diptych board pretrain` in `results/boards`: "
        f"{commands}. All numbers are percent, means over seeds and items with 95 % bootstraps of both. Bold is shown "
        "to be better than the base at the same length, italics worse: paired by seed and item, corrected by Holm over "
        f"all rows and metrics of a board, at {100 * LEVEL:.0f} %. The boxes of a picture are resampled together, "
        "unless a board says otherwise. "
        "Equal seconds are seconds of the processor that the training's own steps took, reading included and "
        "measuring excluded. *Boxes* are named as `diptych encode --regions` embeds them: by a prompter where the "
        "training made one, and then *crops* stand beside it; else by crops. *Slots*: a model with region slots names "
        "a box by the slot whose own box has the highest IoU with it. *Dense mIoU* is a logistic regression "
        "on the frozen tokens of the image tower, whose truth is the smallest box round a cell, averaged over "
        "pictures. The best of many is biased upwards, and these are small models after few steps: measure your own "
        "with `diptych board pretrain TABLE --steps N --seconds S --base clip-loss --regions BOXES.csv`."
    )


def main(words: Sequence[str]) -> int:
    """Write the page, or with --check say whether it is that of the boards."""
    every = read(BOARDS)
    if not every:
        sys.stderr.write(f"No boards in {BOARDS}: run diptych board pretrain --base, and copy its board.json there.\n")
        return 1
    return write_or_check({PAGE: page(every)}, words, "which_objective.py")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
