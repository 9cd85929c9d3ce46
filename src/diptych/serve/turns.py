"""Whose turn it is: clients take turns, and the requests of one client within it; and the threads that they share."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Asker = tuple[str, int]
"""A client, and the number of its request."""
NOBODY: Asker = ("", 0)
ASKER: ContextVar[Asker] = ContextVar("asker", default=NOBODY)
"""Who asked for the work of the current task; the guard sets it for each request."""


class Turns(Generic[T]):
    """A queue that many clients share fairly. It is not locked.

    The next item is that of the client that was served longest ago, and of its request that was served longest ago.
    So an item waits for one item of each other client and request, however many these have put.

    Example:
        >>> turns = Turns()
        >>> for name in "abc":
        ...     turns.put(("many", 1), name)
        >>> turns.put(("few", 2), "x")
        >>> list(turns)
        ['a', 'x', 'b', 'c']
    """

    def __init__(self) -> None:
        self._clients: dict[str, dict[int, deque[T]]] = {}  # the first keys are the next in turn

    def put(self, asker: Asker, item: T) -> None:
        """Add an item behind the others of its request."""
        client, request = asker
        self._clients.setdefault(client, {}).setdefault(request, deque()).append(item)

    def __bool__(self) -> bool:
        return bool(self._clients)

    def __iter__(self) -> Iterator[T]:
        """Yield the items in the order of their turns."""
        return in_turns(in_turns(requests.values()) for requests in self._clients.values())

    def of(self, client: str) -> Iterator[T]:
        """Yield the items of one client."""
        for items in self._clients.get(client, {}).values():
            yield from items

    def pop(self) -> T:
        """Remove and return the next item.

        Raises:
            StopIteration: there is none.
        """
        client, requests = next(iter(self._clients.items()))
        request, items = next(iter(requests.items()))
        item = items[0]
        self.remove((client, request), item)
        return item

    def remove(self, asker: Asker, item: T) -> None:
        """Remove an item, whose request and client then come last."""
        client, request = asker
        requests = self._clients.pop(client)
        items = requests.pop(request)
        items.remove(item)
        if items:
            requests[request] = items
        if requests:
            self._clients[client] = requests


def in_turns(queues: Iterable[Iterable[T]]) -> Iterator[T]:
    """Yield the first of each, the second of each, and so on.

    Example:
        >>> "".join(in_turns(["abc", "d", "ef"]))
        'adebfc'
    """
    left = [iter(queue) for queue in queues]
    while left:
        remaining = []
        for queue in left:
            for item in queue:
                yield item
                remaining.append(queue)
                break
        left = remaining


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
