"""The parts of a report that say whether probabilities can be trusted, and what they promise."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from diptych.core.wording import number_of, three_digits
from diptych.evaluation.few_shot.board import Board
from diptych.evaluation.few_shot.gains import Row
from diptych.evaluation.pages import plots
from diptych.tasks.calibrate import SETS, UNKNOWN
from diptych.tasks.pages.page import TABLE_END, table


def acting(board: Board) -> Iterator[str]:
    """Yield the table of what calibrated probabilities came to."""
    rows = [row for row in board.rows if "temperature" in row.acting]
    if not rows:
        return
    heads = (
        "system", "shots", "ECE", "ECE, cali-<br>brated", "tempera-<br>ture", "sets hold<br>the truth",
        "classes<br>a set", "called<br>unknown", "wrong in all", "wrong in the<br>surest 80 %",
    )  # fmt: skip
    yield "<section><h2>Probabilities to act on</h2>" + table(heads)
    for row in rows:
        a = row.acting
        unknown = f"{percent(a['unknown'])}" if "unknown" in a else "–"
        cells = (
            str(row.shots or "–"), percent(row.metrics["ece"]), percent(a["ece"]), three_digits(a["temperature"]),
            percent(a["coverage"]),
            f"{a['set_size']:.1f}", unknown, percent(1 - row.metrics["acc1"]), percent(a["risk80"]),
        )  # fmt: skip
        kind = "base" if row is board.base() else ""
        yield (
            f'<tr class="{kind}"><th scope="row">{escape(row.label)}</th>'
            + "".join(f"<td>{c}</td>" for c in cells)
            + "</tr>"
        )
    yield TABLE_END
    bold = (
        " Some of them fit had seen too, so promises are too bold."
        if any(row.acting.get("seen") for row in rows)
        else ""
    )
    yield (
        f'<p class="note">Calibrated on photos apart from {board.facts["measured"]}.{bold} Sets are made to hold the '
        f"true class in {100 * SETS:.0f} % of "
    )
    yield (
        f"photos; at most {100 * UNKNOWN:.0f} % of photos of these classes should be called unknown. A dash: too few "
        "photos to promise "
    )
    yield "that.</p></section>"


def reliability(board: Board) -> Iterator[str]:
    """Yield a diagram of accuracy against confidence for the baseline and the rows with most shots."""
    most = max((row.shots for row in board.rows), default=0)
    chosen = [row for row in board.rows if row is board.base() or (row.shots == most and most)]
    if not chosen:
        return
    yield "<section><h2>Can the probabilities be trusted?</h2>"
    yield (
        '<p class="note">Dots below the diagonal: surer than right. A dot is a bin of confidence, its area the number '
        "of items.</p>"
    )
    yield '<div class="many">'
    for row in chosen:
        title = f"Accuracy against confidence of {called(row)}, ECE {percent(row.metrics['ece'])} %"
        yield f"<figure>{plots.reliability(row.outcomes[0].reliability(), title=title)}"
        yield f"<figcaption>{escape(called(row))}: ECE {percent(row.metrics['ece'])} %</figcaption></figure>"
    yield "</div></section>"


def called(row: Row) -> str:
    """Return a row's label with its shots."""
    return f"{row.label}, {number_of(row.shots, 'shot')}" if row.shots else row.label


def percent(value: float, digits: int = 1) -> str:
    """Return a fraction as a percentage without its sign."""
    return f"{100 * value:.{digits}f}"
