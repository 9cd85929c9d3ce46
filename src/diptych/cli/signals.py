"""Ctrl-C and SIGTERM in a command: both end it as ``KeyboardInterrupt``, so that it says what is saved."""

from __future__ import annotations

import os
import signal
import sys
import time
from _thread import interrupt_main, start_new_thread
from importlib.machinery import ExtensionFileLoader
from types import FrameType
from typing import Any

TOGETHER = 1.0
"""Seconds in which several signals count as one: GNU timeout sends one to a process and to its group."""

LONGEST_IMPORT = 10.0
"""Seconds for which an interruption waits until a module is imported."""
_IMPORT, _LOADERS = "<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>"
"""Files that the frames of an import name."""

INTERRUPTED = 130
"""Exit code."""


class Signals:
    """Handlers of a process: the first signal interrupts it, a later one ends it at once.

    A signal that the process ignores, as jobs in the background of a script ignore Ctrl-C, stays ignored. A worker that
    was forked ends without a sentence. An interruption that Python drops, as in a destructor, is raised again. One that
    comes while a module of another package is imported is raised after that: what an extension module calls while it is
    initialised, such as the C++ of torch, drops exceptions, or aborts the process.

    Attributes:
        number: of the signal that was received; 0: none.
    """

    def __init__(self) -> None:
        self.number = 0
        self._since = 0.0
        self._process = os.getpid()
        self._unraisable = sys.unraisablehook
        self._dropping = False
        self._repeated = self._waits = False

    def hear(self) -> Signals:
        """Install the handlers."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._interrupt)
        sys.unraisablehook = self._drop
        return self

    def settle(self) -> None:
        """Raise an interruption that has waited for an import, without waiting for the next moment.

        Raises:
            KeyboardInterrupt: there is one.
        """
        if self._waits:
            self._waits = False
            raise KeyboardInterrupt

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
        if self._dropping:
            self._again(number)
            return
        now = time.monotonic()
        if self._repeated:
            self._repeated = False
            if not self._waits:
                return
        elif self.number and now - self._since < TOGETHER:
            return
        elif self.number or os.getpid() != self._process:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        else:
            self.number, self._since = number, now
        if _is_importing(frame) and now - self._since < LONGEST_IMPORT:
            self._waits = True
            self._again(number, repeated=True)
            return
        self._waits = False
        raise KeyboardInterrupt

    def _drop(self, dropped: Any) -> None:
        """Interrupt again after what dropped an interruption, for raised here it would be dropped too."""
        if not self.number or not issubclass(dropped.exc_type, KeyboardInterrupt):
            self._unraisable(dropped)
            return
        self._dropping, number, self.number = True, self.number, 0
        self._again(number)
        self._dropping = False

    def _again(self, number: int, *, repeated: bool = False) -> None:
        """Call the handler again in a moment, from a thread without locks, which the main thread may hold."""

        def interrupt() -> None:
            time.sleep(0.01)
            self._repeated = repeated
            interrupt_main(signal.Signals(number))

        start_new_thread(interrupt, ())


def _is_importing(frame: FrameType | None) -> bool:
    """Return whether an extension module, or a module of another package, is being imported by what runs in a frame.

    Modules of our own do not wait: reading and compiling all of them can take seconds.
    """
    while frame is not None:
        code, caller = frame.f_code, frame.f_back
        if code.co_filename == _LOADERS and isinstance(frame.f_locals.get("self"), ExtensionFileLoader):
            return True
        is_body = code.co_name == "<module>" and caller is not None and caller.f_code.co_filename == _IMPORT
        if is_body and str(frame.f_globals.get("__name__")).partition(".")[0] != __name__.partition(".")[0]:
            return True
        frame = caller
    return False
