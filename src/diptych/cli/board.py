"""How commands show a board of classifiers, and how they leave after one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diptych.cli.console import finish, say, show_parts
from diptych.verbs.board.classifiers import tables_of
from diptych.verbs.board.measured import INTERRUPTED


def show_board(board: Mapping[str, Any]) -> None:
    """Print a board as written, percentages with 95 % intervals, then what is missing or late, then the choice."""
    show_parts(tables_of(board))


def leave(failed: Sequence[Any], interrupted: bool = False) -> None:
    """Name what was skipped and leave with the exit code that says so; a board out of its budget is a result."""
    if interrupted:
        say(INTERRUPTED)
    finish(failed, 130 if interrupted else 0)
