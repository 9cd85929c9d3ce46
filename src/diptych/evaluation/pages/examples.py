"""The photos of a board that one row names rightly, and wrongly, with most confidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import numpy as np

from diptych.evaluation.few_shot.board import Board
from diptych.evaluation.few_shot.gains import Row
from diptych.evaluation.pages.confusion import confusion
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
