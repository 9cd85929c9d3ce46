"""Ctrl-C and SIGTERM in a training: the step is finished, and a sentence says what is saved."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

TOGETHER = 1.0
"""Seconds in which several signals count as one."""


class Stop(contextlib.AbstractContextManager["Stop"]):
    """Delays Ctrl-C and SIGTERM until the loop has finished a step; the signal is raised again at the end.

    A second Ctrl-C acts at once, unless it comes with the first: GNU timeout and torchrun send a signal to a process
    and to its group. A second SIGTERM is the first one again: who wants the end at once sends SIGKILL.

    A signal that the process ignores, as jobs in the background of a script ignore Ctrl-C, stays ignored: raised again
    it would do nothing, and what was stopped would count as finished.

    Attributes:
        sentence: where the loop stopped and what goes on from there, which a block of ``announced`` is given before
            SIGTERM, and KeyboardInterrupt says; "": nothing is said.
    """

    def __init__(self) -> None:
        self.sentence = ""
        self._signal: int | None = None
        self._since = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python refuses handlers
            noted = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
            self._before = {n: signal.signal(n, self._note) for n in noted}
        return self

    def wanted(self) -> int:
        """Return the number of the signal that was received; 0: none."""
        return self._signal or 0

    def take(self, number: int) -> None:
        """Take a signal that another process of the training received, so that this one ends alike."""
        self._signal = number

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._signal is None:
            self._signal, self._since = number, now
        elif number == signal.SIGINT and now - self._since >= TOGETHER:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def __exit__(self, *exc: object) -> None:
        self._restore()
        around = _announced.get() if exc[0] is None else None
        while around is not None:
            around.trained, around = True, around.outer
        if self._signal is None or exc[0] is not None:
            return
        announced = _announced.get() if self.sentence else None
        ends = signal.getsignal(self._signal) is signal.SIG_DFL
        if announced is not None and ends:
            announced.say(self.sentence)
        try:
            signal.raise_signal(self._signal)
        except KeyboardInterrupt as interruption:
            raise (KeyboardInterrupt(self.sentence) if self.sentence else interruption) from None
        if announced is not None and not ends:
            announced.say(self.sentence)


@dataclass
class _Announced:
    say: Callable[[str], None]
    remedy: str
    folder: Path | None
    outer: _Announced | None = None
    trained: bool = False

    def outside(self) -> str:
        """Return what is saved where no loop runs: before the first step, or after the last."""
        if self.folder is None:
            return ""
        saved = max((_step_of(p) for p in self.folder.glob("**/checkpoints/step-*")), default=0)
        where = "after the last step" if self.trained else "before the next step" if saved else "before the first step"
        if not saved:
            return f"Stopped {where}: nothing is saved, and the same command begins again."
        return f"Stopped {where}: step {saved:,} is saved, and {self.remedy}."


_announced: ContextVar[_Announced | None] = ContextVar("announced", default=None)


@contextlib.contextmanager
def announced(say: Callable[[str], None], remedy: str, folder: Path | None = None) -> Iterator[None]:
    """Let trainings inside the block say where Ctrl-C or SIGTERM stopped them, and what goes on from there.

    Outside the loops SIGTERM is whatever the program makes of it: the command line makes it ``KeyboardInterrupt``. Of
    blocks inside one another the innermost speaks.

    Args:
        say: takes the sentence of a loop that SIGTERM ended; KeyboardInterrupt has it as its text.
        remedy: end of the sentence, such as "the same command goes on from there".
        folder: has the checkpoints of the trainings, at any depth: the sentence then also says what is saved where a
            signal comes before the first step or after the last. None: there it is not said.
    """
    block = _Announced(say, remedy, folder, _announced.get())
    token = _announced.set(block)
    try:
        yield
    except KeyboardInterrupt as interruption:
        sentence = "" if interruption.args else block.outside()
        raise (KeyboardInterrupt(sentence) if sentence else interruption) from None
    finally:
        _announced.reset(token)


def stopped_after(step: int, steps: int | None) -> str:
    """Return the sentence of a training that stopped after ``step`` of ``steps`` (None: not known), all of which is in
    a checkpoint; "" outside of ``announced``.

    Example:
        >>> with announced(print, "the same command goes on from there"):
        ...     stopped_after(1200, 3000)
        'Stopped after step 1,200 of 3,000: the same command goes on from there.'
    """
    if (announced := _announced.get()) is None:
        return ""
    whole = "" if steps is None else f" of {steps:,}"
    return f"Stopped after step {step:,}{whole}: {announced.remedy}."


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Start processes that never receive Ctrl-C or SIGTERM, which the training process handles for them.

    They have the mask of the thread that starts them from their first moment on, unlike handlers of their own.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.split("-")[1])
