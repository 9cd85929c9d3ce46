from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest

from diptych.serve.turns import ASKER, Turns, Workers, in_turns


def emptied(turns: Turns[str]) -> str:
    taken = []
    while turns:
        taken.append(turns.pop())
    return "".join(taken)


def test_clients_take_turns_and_so_do_the_requests_of_a_client() -> None:
    turns: Turns[str] = Turns()
    for name in "abc":
        turns.put(("many", 1), name)
    for name in "de":
        turns.put(("many", 2), name)
    turns.put(("few", 3), "x")
    turns.put(("few", 3), "y")
    assert "".join(turns) == "axdybec"
    assert emptied(turns) == "axdybec"
    assert not turns


def test_who_was_served_comes_last() -> None:
    turns: Turns[str] = Turns()
    turns.put(("a", 1), "1")
    turns.put(("a", 1), "2")
    turns.put(("b", 2), "3")
    turns.remove(("a", 1), "1")
    assert emptied(turns) == "32"


def test_the_items_of_a_client_are_counted_without_the_others() -> None:
    turns: Turns[str] = Turns()
    turns.put(("a", 1), "1")
    turns.put(("a", 2), "2")
    turns.put(("b", 3), "3")
    assert sorted(turns.of("a")) == ["1", "2"]
    assert list(turns.of("nobody")) == []


def test_queues_of_different_lengths_are_interleaved() -> None:
    assert list(in_turns([[1, 2, 3], [], [4], [5, 6]])) == [1, 4, 5, 2, 6, 3]


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
