"""Waiting for work, for its client to go, or for its time to be over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from diptych.serve.refusals import GoneError, TimedOutError

T = TypeVar("T")


async def awaited(request: Any, work: Awaitable[T], timeout: float) -> T:
    """Return the result of work, which is cancelled where nobody waits for it any more.

    Args:
        request: of Starlette; its body was read before.
        work: for example of ``asyncio.gather``.
        timeout: seconds.

    Raises:
        GoneError: the client has hung up.
        TimedOutError: the time is over.
    """
    task: asyncio.Future[T] = asyncio.ensure_future(work)
    task.add_done_callback(_retrieved)  # a cancelled one has nobody who reads its error
    gone: asyncio.Future[Any] = asyncio.ensure_future(_gone(request))
    try:
        done, _ = await asyncio.wait({task, gone}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if task in done:
            return task.result()
        raise GoneError if gone in done else TimedOutError(timeout)
    finally:
        gone.cancel()
        task.cancel()


def _retrieved(future: asyncio.Future[Any]) -> None:
    """Read the error of a future, which asyncio otherwise logs as never retrieved."""
    if not future.cancelled():
        future.exception()


async def _gone(request: Any) -> None:
    """Return when the client has hung up; its body was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
