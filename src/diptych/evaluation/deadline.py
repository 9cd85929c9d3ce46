"""Stopping work that takes too long, in the process itself."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class OutOfTime(BaseException):
    """The seconds are spent. Like KeyboardInterrupt no Exception, so that no system takes it for its own failure."""


@contextlib.contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Raise ``OutOfTime`` inside the block when the seconds are spent, between two steps of Python: a long step of a
    library ends first.

    Args:
        seconds: from now; None: no end. Outside the main thread, and on systems without interval timers, nothing is
            stopped half-way.

    Raises:
        OutOfTime: the seconds are spent, or are not above 0 to begin with.
    """
    if seconds is not None and seconds <= 0:
        raise OutOfTime
    if seconds is None or not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
