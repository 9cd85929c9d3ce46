"""The photos of a board that one row names rightly and wrongly, its confusion matrix, and the photos behind a cell."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.evaluation.few_shot.board import Board
from diptych.evaluation.few_shot.gains import Row
from diptych.evaluation.pages.trust import called, percent
from diptych.tasks.pages.photo_page import thumbnail

EXAMPLES = 8
"""Photos shown as right, and as wrong."""


def examples(board: Board) -> Iterator[str]:
    """Yield the section of a report; nothing where there is no row."""
    row = _shown(board)
    if row is None:
        return
    outcome, names = row.outcomes[0], board.classes.names
    order = np.argsort(-outcome.confidence, kind="stable")
    wrong = [int(i) for i in order if not outcome.correct[i]][:EXAMPLES]
    right = _one_a_class([int(i) for i in order if outcome.correct[i]], outcome.labels)[:EXAMPLES]
    yield f"<section><h2>Right and wrong</h2><p class='note'>{escape(called(row))}, seed {row.records[0].seed}. "
    yield "Wrong ones are those it was surest of; right ones are the surest of each class.</p>"
    for heading, chosen in (("Right", right), ("Wrong", wrong)):
        if not chosen:
            continue
        yield f'<h3>{heading}</h3><div class="few">'
        for i in chosen:
            predicted, true = names[outcome.predicted[i]], names[outcome.labels[i]]
            words = f"{predicted} {percent(outcome.confidence[i], 0)} %" + ("" if predicted == true else f", is {true}")
            alt = escape(f"{true}, classified as {predicted}")
            yield f'<figure><img src="{thumbnail(board.test.items, i, 240)}" alt="{alt}">'
            yield f"<figcaption>{escape(words)}</figcaption></figure>"
        yield "</div>"
    yield "</section>"
    yield from confusion(board, row)


def _shown(board: Board) -> Row | None:
    """Return the row whose photos are shown: the highest at most shots, else the baseline."""
    return max(board.rows, key=lambda r: (r.shots, r.metrics["acc1"]), default=None)


def _one_a_class(order: Sequence[int], labels: Any) -> list[int]:
    """Put the first item of each class in front of the second ones."""
    seen: dict[int, int] = {}
    turns = []
    for i in order:
        turns.append((seen.get(int(labels[i]), 0), i))
        seen[int(labels[i])] = turns[-1][0] + 1
    return [i for _, i in sorted(turns, key=lambda turn: turn[0])]


CLASSES, PHOTOS, CELLS = 30, 6, 40
"""Classes of a matrix, the most confused ones; photos of a cell; and cells that have photos, the fullest ones."""
STYLE = """<style>
.matrix table{border-collapse:collapse;font-size:.8rem}.matrix td,.matrix th{padding:2px 6px;text-align:right}
.matrix th{max-width:10rem;overflow:hidden;text-overflow:ellipsis}
.matrix thead th{writing-mode:vertical-rl;text-align:left;max-width:none;max-height:10rem}
.matrix td a{display:block}
.matrix .scroll{overflow-x:auto;display:none}.cell{display:none}.cell:target{display:block}
#by-errors:checked~.by-errors,#by-name:checked~.by-name{display:block}
</style>"""


def counts_of(row: Row, classes: int) -> NDArray[np.int64]:
    """Return (K, K) counts over all seeds: true classes in rows, those that were named in columns."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    for outcome in row.outcomes:
        np.add.at(counts, (outcome.labels, outcome.predicted), 1)
    return counts


def confusion(board: Board, row: Row) -> Iterator[str]:
    """Yield the section of a report; nothing where all was right."""
    names = board.classes.names
    counts = counts_of(row, len(names))
    wrong = counts - np.diag(np.diag(counts))
    if not wrong.any():
        return
    errors = wrong.sum(axis=0) + wrong.sum(axis=1)
    most = np.argsort(-errors, kind="stable")[:CLASSES]
    i, j = np.nonzero(wrong)
    order = np.argsort(-wrong[i, j], kind="stable")[:CELLS]
    cells = [(int(i[k]), int(j[k])) for k in order]
    left_out = f" Of {len(names)} classes the {CLASSES} most confused are shown." if len(names) > CLASSES else ""
    yield f"<section class='matrix'><h2>Confusions</h2>{STYLE}<p class='note'>{escape(called(row))}, all seeds: true "
    yield f"classes in rows, those that were named in columns.{left_out} An underlined number opens its photos, "
    yield "of the first seed, below.</p><input type='radio' name='order' id='by-errors' checked>"
    yield "<label for='by-errors'>most confused first</label> "
    yield "<input type='radio' name='order' id='by-name'><label for='by-name'>by name</label>"
    by_name = sorted(most.tolist(), key=lambda k: _in_a_list(names[k]))
    for kind, shown in (("by-errors", most.tolist()), ("by-name", by_name)):
        yield f"<div class='scroll {kind}'>{_table(counts, names, shown, cells)}</div>"
    yield from (_photos(board, row, names, true, named) for true, named in cells)
    yield "</section>"


def _in_a_list(name: str) -> str:
    """Return what names are sorted by: small and capital letters alike, those with marks beside those without."""
    return unicodedata.normalize("NFKD", name).casefold()


def _table(
    counts: NDArray[np.int64], names: Sequence[str], shown: Sequence[int], cells: Sequence[tuple[int, int]]
) -> str:
    head = "".join(f"<th scope='col' title='{escape(names[k])}'>{escape(names[k])}</th>" for k in shown)
    rows = []
    for true in shown:
        total = max(int(counts[true].sum()), 1)
        line = []
        for named in shown:
            count = int(counts[true, named])
            shade = (
                f" style='background:rgba({'42,120,214' if true == named else '217,87,46'},{0.6 * count / total:.2f})'"
            )
            text = f"<a href='#cell-{true}-{named}'>{count}</a>" if (true, named) in cells else str(count or "")
            line.append(f"<td{shade if count else ''}>{text}</td>")
        name = escape(names[true])
        rows.append(f"<tr><th scope='row' title='{name}'>{name}</th>{''.join(line)}</tr>")
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _photos(board: Board, row: Row, names: Sequence[str], true: int, named: int) -> str:
    outcome = row.outcomes[0]
    positions = np.nonzero((outcome.labels == true) & (outcome.predicted == named))[0]
    heading = f"{names[true]} taken for {names[named]}"
    more = f", {PHOTOS} of {len(positions)}" if len(positions) > PHOTOS else ""
    pictures = "".join(
        f"<figure><img src='{thumbnail(board.test.items, int(i), 160)}' alt='{escape(heading, quote=True)}'></figure>"
        for i in positions[:PHOTOS]
    )
    none = "" if len(positions) else "<p class='note'>None in the first seed.</p>"
    shown = f"<h3>{escape(heading)}{more}</h3><div class='few'>{pictures}</div>{none}"
    return f"<div class='cell' id='cell-{true}-{named}'>{shown}</div>"
