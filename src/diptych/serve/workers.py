"""The threads that decode pictures and read indexes, shared fairly by clients."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from diptych.serve.turns import ASKER, Turns


class Workers:
    """A pool of threads, in which clients take turns.

    Args:
        threads: number of threads.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._lock = threading.Lock()
        self._turns: Turns[tuple[Future[Any], Callable[[], Any]]] = Turns()

    def submit(self, function: Callable[[], Any]) -> Future[Any]:
        """Queue work for the client that ``ASKER`` names, and return the future of its result."""
        future: Future[Any] = Future()
        with self._lock:
            self._turns.put(ASKER.get(), (future, function))
        self._pool.submit(self._next)  # a thread for the work whose turn it then is, which may be another's
        return future

    def _next(self) -> None:
        with self._lock:
            if not self._turns:
                return
            future, function = self._turns.pop()
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)
        finally:
            del future, function  # the error's traceback refers to this frame

    def close(self) -> None:
        """Start nothing more, and cancel what waits."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            waiting, self._turns = list(self._turns), Turns()
        for future, _ in waiting:
            future.cancel()
