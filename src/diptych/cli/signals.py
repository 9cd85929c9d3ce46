"""Ctrl-C and SIGTERM in a command: both end it as ``KeyboardInterrupt``, so that it says what is saved."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from _thread import interrupt_main
from types import FrameType
from typing import Any

TOGETHER = 1.0
"""Seconds in which several signals count as one: GNU timeout sends one to a process and to its group."""

INTERRUPTED = 130
"""Exit code."""


class Signals:
    """Handlers of a process: the first signal interrupts it, a later one ends it at once.

    A signal that the process ignores, as jobs in the background of a script ignore Ctrl-C, stays ignored. A worker that
    was forked ends without a sentence. An interruption that Python drops, as in a destructor, is raised again.

    Attributes:
        number: of the signal that was received; 0: none.
    """

    def __init__(self) -> None:
        self.number = 0
        self._since = 0.0
        self._process = os.getpid()
        self._unraisable = sys.unraisablehook
        self._dropping = False

    def hear(self) -> Signals:
        """Install the handlers."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._interrupt)
        sys.unraisablehook = self._drop
        return self

    def end(self) -> None:
        """End the process as its parent expects, with all that was printed: by SIGTERM, or at Ctrl-C by exit code.

        Runtimes of encoders are not torn down, which takes seconds after the last sentence.
        """
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if self.number == signal.SIGINT:
            os._exit(INTERRUPTED)
        signal.signal(self.number, signal.SIG_DFL)
        signal.raise_signal(self.number)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._dropping:
            self._again(number)
            return
        if self.number and now - self._since < TOGETHER:
            return
        if self.number or os.getpid() != self._process:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.number, self._since = number, now
        raise KeyboardInterrupt

    def _drop(self, dropped: Any) -> None:
        """Interrupt again after what dropped an interruption, for raised here it would be dropped too."""
        if not self.number or not issubclass(dropped.exc_type, KeyboardInterrupt):
            self._unraisable(dropped)
            return
        self._dropping, number, self.number = True, self.number, 0
        self._again(number)
        self._dropping = False

    def _again(self, number: int) -> None:
        threading.Timer(0.01, interrupt_main, (number,)).start()
