"""The progress of long work, for the command line and for Python. Loads rich only when it shows."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from diptych.core import Progress
from diptych.core.run import silent
from diptych.core.wording import three_digits
from diptych.data.files import escaped

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

SWITCH = "DIPTYCH_PROGRESS"
"""Environment variable that silences calls in Python where it is 0."""


def shows_bars() -> bool:
    """Return whether stderr shows live bars: a terminal, or a notebook with ipywidgets, through which rich draws."""
    return sys.stderr.isatty() or ("ipykernel" in sys.modules and find_spec("ipywidgets") is not None)


def progress_of(shown: bool | None) -> Callable[[str, int | None], Progress]:
    """Return what makes the bars of calls in Python.

    Args:
        shown: True shows the progress, as lines where nothing shows bars; False shows none; None shows it in terminals
            and notebooks, unless DIPTYCH_PROGRESS is 0.
    """
    if shown is None:
        shown = os.environ.get(SWITCH) != "0" and shows_bars()
    return Display().bar if shown else silent


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
        self.terminal = shows_bars()
        self.lock = threading.RLock()
        self._live: RichProgress | None = None
        self._reported: dict[str, float] = {}

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
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn(),
            )  # fmt: skip
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
        if now - self._reported.get(name, -math.inf) >= self.every:
            self._reported[name] = now
            of = "" if total is None else f" of {total:,}"
            rate = f", {three_digits(done / seconds)}/s" if done else ""
            sys.stderr.write(escaped(f"{name}: {done:,}{of}{rate}") + "\n")


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
