"""One training in a folder at a time: two would remove each other's checkpoints."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from diptych.core import Run, UsageError
from diptych.data.files import remove_stale_drafts
from diptych.train import distributed

WAIT = 5.0
"""Seconds after which a lock counts as held: a process that was killed may need as many to go."""


@contextlib.contextmanager
def sole(run: Run) -> Iterator[None]:
    """Hold the lock of ``run.out`` in the first process, also within another ``sole`` of the same thread.

    The system takes it back when the process ends, however it ends. Drafts that a killed process left in the folder are
    removed. Without a folder nothing is held.

    Args:
        run: its folder and processes; all of them must call this.

    Raises:
        UsageError: another training holds it.
    """
    with contextlib.ExitStack() as held:
        refused = False
        if run.out is not None and run.world.rank == 0:
            from filelock import FileLock, Timeout  # as ``data.files.locked``

            run.out.mkdir(parents=True, exist_ok=True)
            lock = FileLock(run.out / "lock", is_singleton=True)
            try:
                held.enter_context(lock.acquire(timeout=WAIT, poll_interval=0.05))
                remove_stale_drafts(run.out)
            except Timeout:
                refused = True
        if distributed.most([refused], run.world)[0]:
            raise UsageError(f"Another training runs in {run.out}: wait for its end, or give another folder.")
        yield
