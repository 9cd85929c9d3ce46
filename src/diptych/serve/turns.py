"""Whose turn it is: clients take turns, and the requests of one client take turns within it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Generic, TypeVar

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
