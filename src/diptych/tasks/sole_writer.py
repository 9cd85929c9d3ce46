"""One run at a time writes an output: two would write over each other's files."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from diptych.core import UsageError
from diptych.data.addresses import copies_folder
from diptych.data.files import absent_folders, address_of, named, remove_empty, remove_stale_drafts

WAIT = 2.0
"""Seconds after which an output counts as taken: a process that was killed may need as many to go."""
DEPTH = 2
"""Levels of folders in an output in which drafts of killed runs are looked for."""
_HELD: set[tuple[str, int]] = set()


@contextmanager
def sole_writer(out: Path | None) -> Iterator[None]:
    """Hold the lock of an output in the block, and first remove the drafts that killed runs left there.

    The system gives the lock back when the process ends, however it ends. It is a file beside the output, .NAME.lock,
    which is removed after the block; where the folder of the output cannot be written, it lies in the output. Those on
    object storage are locked on this machine alone.

    Args:
        out: file, folder or address that is written; None: nothing is.

    Raises:
        UsageError: another run writes it.
    """
    if out is None:
        yield
        return
    me = (named(out) if address_of(out) else os.path.realpath(out), threading.get_ident())
    if me in _HELD:  # a command that calls another one's function
        yield
        return
    with ExitStack() as stack:
        for path in _paths(out):
            stack.callback(remove_empty, absent_folders(path))  # after the lock
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(_locked(path, out))
            except OSError:  # a folder that cannot be written
                continue
            break
        if address_of(out) is None:
            remove_stale_drafts(out.parent, out.name)
            remove_stale_drafts(out, depth=DEPTH)
        _HELD.add(me)
        try:
            yield
        finally:
            _HELD.discard(me)


def _paths(out: Path) -> list[Path]:
    """Return where the lock may lie, the first choice first."""
    if address := address_of(out):
        return [copies_folder() / "locks" / (address.replace("/", "-").replace(":", "")[-200:] + ".lock")]
    beside = out.absolute().with_name(f".{out.absolute().name[:200]}.lock")
    return [beside, *([out / ".lock"] if out.is_dir() else [])]


@contextmanager
def _locked(path: Path, out: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout  # its import takes longer than a cached answer

    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o644))  # the library waits where a folder cannot be written
    lock = FileLock(path)
    while True:
        try:
            lock.acquire(timeout=WAIT, poll_interval=0.05)
        except Timeout:
            raise UsageError(f"Another run writes {named(out)}: wait for its end, or give another {{out}}.") from None
        if path.exists():
            break
        lock.release()  # of a file that its last holder has just removed
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no file that is open
            path.unlink()
        lock.release()
