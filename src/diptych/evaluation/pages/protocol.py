"""The few-shot protocol as one HTML page: curves with intervals, base to new, other data sets and shifted test sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from diptych.data.files import write_whole
from diptych.evaluation.board import by_reason
from diptych.evaluation.few_shot.data_sets import BASE, CROSS, NEW, SHIFT
from diptych.evaluation.few_shot.protocol import Protocol, Reach
from diptych.evaluation.pages import plots
from diptych.evaluation.pages.trust import percent
from diptych.tasks.pages.page import CLOSING, TABLE_END, opening, table


def write(protocol: Protocol, path: Path) -> None:
    """Write the page over an older one."""
    write_whole(path, html(protocol), overwrite=True)


def html(protocol: Protocol) -> str:
    """Return the page."""
    board = protocol.board
    title = f"{board.data.name}: few-shot protocol with {board.facts['spec']['name']}"
    seeds = ", ".join(map(str, board.plan.seeds))
    shots = ", ".join(map(str, board.plan.shots))
    choices = "no choices on val" if board.plan.val == "none" else f"choices on val only, by the rule {board.plan.val}"
    lead = f"{shots} labelled photos per class, seeds {seeds}; {choices}."
    parts = [
        opening(title, f'<p class="lead">{escape(lead)}</p>', pictures=False),
        *([] if protocol.complete else ['<p class="warn">Not complete: the same command goes on from here.</p>']),
        *_curves(protocol),
        *_base_to_new(protocol),
        *_table(protocol, CROSS, "Other data sets", "Fitted on this data set, asked for the classes of others."),
        *_table(
            protocol,
            SHIFT,
            "Shifted test sets",
            "Fitted on this data set, asked for the same classes in other pictures.",
        ),
        *_missing(protocol),
        f"<section><h2>Repeat it</h2><pre>{escape(protocol.command)}</pre></section>{CLOSING}",
    ]
    return "\n".join(parts)


def _curves(protocol: Protocol) -> Iterator[str]:
    board = protocol.board
    labels = list(dict.fromkeys(row.label for row in board.rows if row.shots))
    if not labels:
        return
    points = {(r.label, r.shots): plots.Point(r.shots, r.metrics["acc1"], *r.ci95["acc1"]) for r in board.rows}
    series = [
        plots.Series(name, tuple(p for (label, shots), p in points.items() if label == name and shots))
        for name in labels
    ]
    base = board.base()
    reference = points[base.label, 0] if base else None
    yield "<section><h2>Accuracy against shots</h2><figure><div class='scroll plot'>"
    yield plots.curves(
        series, reference, title="Top-1 against shots", x_label="labelled photos per class", y_label="top-1, %"
    )
    yield "</div>" + plots.legend(labels, "zero-shot, ensemble" if base else None)
    yield (
        "<figcaption>Whiskers and the grey band are 95 % intervals over photos and "
        "seeds.</figcaption></figure></section>"
    )


def _base_to_new(protocol: Protocol) -> Iterator[str]:
    means = protocol.harmonic()
    if not means:
        return
    yield "<section><h2>Base to new classes</h2>" + table(("system", "base", "new", "harmonic mean"))
    reaches = {(r.label, r.kind): r for r in protocol.reaches}
    for label, (_, _, mean) in sorted(means.items(), key=lambda pair: -pair[1][2]):
        yield (
            f'<tr><th scope="row">{escape(label)}</th>{_cell(reaches[label, BASE])}{_cell(reaches[label, NEW])}'
            f"<td>{percent(mean)}</td></tr>"
        )
    yield (
        f"{TABLE_END}<p class='note'>The first half of the classes is base: shots come from it alone. The "
        "names of new classes"
    )
    yield " are told in training only to systems whose card lists other_classes. Percent, 95 % intervals.</p></section>"


def _table(protocol: Protocol, kind: str, heading: str, note: str) -> Iterator[str]:
    there = [r for r in protocol.reaches if r.kind == kind]
    if not there:
        return
    names = list(dict.fromkeys(r.name for r in there))
    yield f"<section><h2>{heading}</h2>{table(['system', *map(escape, names), 'mean'])}"
    for label in dict.fromkeys(r.label for r in there):
        reaches = {r.name: r for r in there if r.label == label}
        cells = "".join(_cell(reaches[name]) if name in reaches else "<td>–</td>" for name in names)
        yield (
            f'<tr><th scope="row">{escape(label)}</th>{cells}'
            f"<td>{percent(_mean([r.accuracy.value for r in reaches.values()]))}</td></tr>"
        )
    yield f"{TABLE_END}<p class='note'>{note} Percent, 95 % intervals.</p></section>"


def _missing(protocol: Protocol) -> Iterator[str]:
    reasons = by_reason(protocol.board.missing, protocol.board.late, protocol.missing)
    if reasons:
        yield "<section><h2>Left out</h2>"
        yield from (
            f"<p class='note'><b>{escape('; '.join(dict.fromkeys(labels)))}</b>: {escape(why)}</p>"
            for why, labels in reasons.items()
        )
        yield "</section>"


def _cell(r: Reach) -> str:
    low, high = percent(r.accuracy.low), percent(r.accuracy.high)
    return f'<td>{percent(r.accuracy.value)}<span class="i">{low}–{high}</span></td>'


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
