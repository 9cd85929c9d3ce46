"""What the terminal shows: results on stdout, progress and remarks on stderr. Loads rich only when it shows."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import typer

from diptych.core import UnreadableItem
from diptych.core.wording import one_line as one_line
from diptych.core.wording import short_names as short_names
from diptych.data.files import escaped
from diptych.tasks.progress import Display as Display

if TYPE_CHECKING:
    from rich.table import Table

    from diptych.verbs.answer import Shown


NAMES = 36
"""Names in the first column are not broken up to this width: they are copied."""


def say(text: str) -> None:
    """Print a remark on stderr."""
    sys.stderr.write(escaped(text) + "\n")


def show(text: str) -> None:
    """Print a result on stdout."""
    sys.stdout.write(escaped(text) + "\n")


def show_json(data: Any) -> None:
    """Print a result as JSON on stdout, the only thing that stands there."""
    show(json.dumps(data, indent=2, ensure_ascii=False))


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[int] = (),
    title: str = "",
    spare: Sequence[int] = (),
) -> None:
    """Print a table on stdout; without any heading it has none.

    Args:
        columns: headings.
        rows: cells, as many as headings.
        right: columns that are set to the right, such as numbers.
        title: a line above.
        spare: columns that may be left out where the terminal is too narrow, the first ones first; a remark names them.
    """
    from rich.console import Console

    console, filled = Console(file=sys.stdout, highlight=False), [tuple(row) for row in rows]
    left, shown = list(spare), list(range(len(columns)))
    table = _table(columns, filled, shown, right)
    while left and console.measure(table, options=console.options.update(max_width=10_000)).maximum > console.width:
        shown.remove(left.pop(0))
        table = _table(columns, filled, shown, right)
    if title:  # not as the table's own, whose width would wrap it
        console.print(title, style="bold", markup=False, soft_wrap=len(title) <= console.width)
    console.print(table)
    if len(shown) < len(columns):
        names = ", ".join(name for i, name in enumerate(columns) if i not in shown)
        say(f"Left out in {console.width} columns: {names}; --json and the files hold all.")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], shown: Sequence[int], right: Sequence[int]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_header=any(columns))
    for i in shown:
        whole = i in right or (i == shown[0] and max((len(row[i]) for row in rows), default=0) <= NAMES)
        table.add_column(columns[i], justify="right" if i in right else "left", overflow="fold", no_wrap=whole)
    for row in rows:
        table.add_row(*(_plain(row[i]) for i in shown))
    return table


def _plain(cell: str) -> str:
    from rich.markup import escape

    return escape(escaped(cell))


def show_parts(parts: Iterable[Shown | str]) -> None:
    """Print tables, and lines between them, on stdout."""
    for part in parts:
        if isinstance(part, str):
            show(part)
        else:
            show_table(part.columns, part.rows, right=part.right, title=part.title, spare=part.spare)


def command_line() -> str:
    """Return the command that is running, as a person would type it."""
    return shlex.join(["diptych", *sys.argv[1:]])


def say_skipped(failed: Sequence[UnreadableItem] | Sequence[str], limit: int = 10, unnamed: int = 0) -> None:
    """Name what was skipped, on stderr; ``unnamed`` counts further items that are not in ``failed``."""
    count = len(failed) + unnamed
    if not count:
        return
    say(f"{count:,} skipped:")
    for error in failed[:limit]:
        say(f"  {one_line(str(error))}")
    if more := count - min(limit, len(failed)):
        say(f"  and {more:,} more")


def finish(failed: Sequence[UnreadableItem] | Sequence[str], code: int = 0, unnamed: int = 0) -> None:
    """Name what was skipped, and leave with the exit code: the given one, else 3 where something was skipped."""
    say_skipped(failed, unnamed=unnamed)
    if code or failed or unnamed:
        raise typer.Exit(code or UnreadableItem.exit_code)
