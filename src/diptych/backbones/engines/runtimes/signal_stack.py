"""Protection of the alternate signal stack from a library that replaces it and later frees it."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

_DISABLED = 2  # SS_DISABLE of signal.h


class _Stack(ctypes.Structure):
    """``stack_t`` of signal.h."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def separate_signal_stack() -> Iterator[None]:
    """Restore the alternate signal stack of this thread after the block.

    OpenVINO's CPU plugin replaces the stack when it compiles a model (for processors with tile
    registers), and unmaps it with the model. Python's handlers run on that stack, so the next Ctrl-C or alarm then
    ended the process with a segmentation fault.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    libc, before = ctypes.CDLL(None), _Stack()
    readable = libc.sigaltstack(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        before.flags &= _DISABLED
        # it may be too small for tile registers by now
        if not readable or libc.sigaltstack(ctypes.byref(before), None) != 0:
            libc.sigaltstack(ctypes.byref(_Stack(None, _DISABLED, 0)), None)
