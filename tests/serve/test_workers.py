from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest

from diptych.serve.turns import ASKER
from diptych.serve.workers import Workers


def asked(workers: Workers, client: str, request: int, function: Any) -> Future[Any]:
    token = ASKER.set((client, request))
    try:
        return workers.submit(function)
    finally:
        ASKER.reset(token)


def test_the_order_of_the_work_is_that_of_turns() -> None:
    workers, order, free = Workers(1), list[str](), threading.Event()
    workers.submit(lambda: free.wait(5))
    many = [asked(workers, "many", 1, lambda i=i: order.append(f"many {i}")) for i in range(100)]
    few = asked(workers, "few", 2, lambda: order.append("few"))
    free.set()
    for future in (*many, few):
        future.result(5)
    assert order.index("few") == 1
    assert [name for name in order if name != "few"] == [f"many {i}" for i in range(100)]
    workers.close()


def test_errors_come_back_and_cancelled_work_is_not_run() -> None:
    workers, ran, free = Workers(1), list[int](), threading.Event()
    workers.submit(lambda: free.wait(5))
    cancelled, broken = workers.submit(lambda: ran.append(1)), workers.submit(lambda: 1 // 0)
    assert cancelled.cancel()
    free.set()
    with pytest.raises(ZeroDivisionError):
        broken.result(5)
    assert not ran
    workers.close()


def test_closing_cancels_what_waits() -> None:
    workers, free = Workers(1), threading.Event()
    workers.submit(lambda: free.wait(5))
    waiting = workers.submit(lambda: 3)
    workers.close()
    free.set()
    with pytest.raises(CancelledError):
        waiting.result(5)
