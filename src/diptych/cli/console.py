"""What the terminal shows: results on stdout, progress and remarks on stderr. Loads rich only when it shows."""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import typer

from diptych.core import UnreadableItem
from diptych.core.wording import one_line as one_line
from diptych.data.files import escaped

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID
    from rich.table import Table


NAMES = 36
"""Names in the first column are not broken up to this width: they are copied."""


def say(text: str) -> None:
    """Print a remark on stderr."""
    sys.stderr.write(escaped(text) + "\n")


def show(text: str) -> None:
    """Print a result on stdout."""
    sys.stdout.write(escaped(text) + "\n")


def short_names(names: Sequence[str]) -> list[str]:
    """Return the end of each path, with as many folders as tell it from all others, on one line.

    Example:
        >>> short_names(["a/cat/1.jpg", "a/dog/1.jpg", "a/dog/2.jpg"])
        ['cat/1.jpg', 'dog/1.jpg', '2.jpg']
    """
    parts = [name.replace("\\", "/").split("/") for name in names]
    taken = [1] * len(parts)
    while True:
        ends = ["/".join(path_parts[-n:]) for path_parts, n in zip(parts, taken, strict=True)]
        whole: dict[str, set[str]] = {}
        for end, name in zip(ends, names, strict=True):
            whole.setdefault(end, set()).add(name)
        longer = [
            n + (len(whole[end]) > 1 and n < len(path_parts))
            for end, path_parts, n in zip(ends, parts, taken, strict=True)
        ]
        if longer == taken:
            return [one_line(end) for end in ends]
        taken = longer


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


def say_skipped(failed: Sequence[UnreadableItem] | Sequence[str], limit: int = 10) -> None:
    """Name what was skipped, on stderr."""
    if not failed:
        return
    say(f"{len(failed)} skipped:")
    for error in failed[:limit]:
        say(f"  {one_line(str(error))}")
    if len(failed) > limit:
        say(f"  and {len(failed) - limit} more")


def finish(failed: Sequence[UnreadableItem] | Sequence[str], code: int = 0) -> None:
    """Name what was skipped, and leave with the exit code: the given one, else 3 where something was skipped."""
    say_skipped(failed)
    if code or failed:
        raise typer.Exit(code or UnreadableItem.exit_code)


class Display:
    """The progress of one command, on stderr: live bars on a terminal, which may be nested and vanish when done; else
    lines.

    Args:
        patience: seconds after which work shows its progress; what ends sooner shows nothing, and loads no library for
            it.
        every: seconds between two lines of the same work where stderr is no terminal.
    """

    def __init__(self, patience: float = 0.5, every: float = 60.0) -> None:
        self.patience, self.every = patience, every
        self.terminal = sys.stderr.isatty()
        self.lock = threading.RLock()
        self._live: RichProgress | None = None
        self._said: dict[str, float] = {}

    def bar(self, name: str, total: int | None) -> Bar:
        """Make a bar; the shape that ``Run.progress`` wants. Nothing to do shows nothing."""
        return Bar(self, name, total)

    def add(self, name: str, total: int | None, done: int) -> TaskID:
        """Show a bar."""
        if self._live is None:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                ProgressColumn,
                Task,
                TextColumn,
                TimeRemainingColumn,
            )
            from rich.text import Text

            class Rate(ProgressColumn):
                def render(self, task: Task) -> Text:
                    return Text(f"{task.speed:.0f}/s" if task.speed else "")

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                Rate(),
                TimeRemainingColumn(),
            )
            self._live = Progress(*columns, console=Console(stderr=True), transient=True)
            self._live.start()
        return self._live.add_task(name, total=total, completed=done)

    def advance(self, task: TaskID, n: int) -> None:
        """Move a bar on."""
        if self._live is not None:
            self._live.advance(task, n)

    def remove(self, task: TaskID) -> None:
        """Take a bar away, and the display with the last one."""
        if self._live is not None:
            self._live.remove_task(task)
            if not self._live.tasks:
                self._live.stop()
                self._live = None

    def line(self, name: str, total: int | None, done: int, seconds: float) -> None:
        """Say how far work is, unless the progress of this name was printed a short while ago."""
        now = time.monotonic()
        if now - self._said.get(name, -math.inf) >= self.every:
            self._said[name] = now
            say(
                f"{name}: "
                f"{done:,}{'' if total is None else f' of {total:,}'}{f', {done / seconds:.3g}/s' if done else ''}"
            )


class Bar:
    """A bar of a display; a context manager."""

    def __init__(self, display: Display, name: str, total: int | None) -> None:
        self._display, self._name, self._total = display, name, total
        self._task: TaskID | None = None
        self._done, self._start, self._over = 0, 0.0, False
        self._timer = threading.Timer(display.patience, self._show)
        self._timer.daemon = True

    def advance(self, n: int = 1) -> None:
        """Count n items as done."""
        with self._display.lock:
            self._done += n
            if self._task is not None:
                self._display.advance(self._task, n)
            elif not self._display.terminal and time.monotonic() - self._start > self._display.every:
                self._show()

    def _show(self) -> None:
        with self._display.lock:
            if self._over:  # it ended while the timer waited for the lock
                return
            if self._display.terminal:
                self._task = self._display.add(self._name, self._total, self._done)
            else:
                self._display.line(self._name, self._total, self._done, time.monotonic() - self._start)

    def __enter__(self) -> Bar:
        self._start = time.monotonic()
        if self._total != 0:
            self._timer.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._timer.cancel()
        with self._display.lock:
            self._over = True
            if self._task is not None:
                self._display.remove(self._task)
