from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError

import pytest

from diptych.serve.batcher import Batcher, Lane
from diptych.serve.refusals import BusyError, ClosingError, TimedOutError


def doubled(seen: list[list[int]], *, merges: bool = True, wait: threading.Event | None = None) -> Lane:
    def run(items: list[int]) -> list[int]:
        seen.append(items)
        if wait is not None:
            wait.wait(5)
        if -1 in items:
            raise ValueError("minus one")
        return [2 * item for item in items]

    return Lane("double", run, merges)


def held(batcher: Batcher) -> threading.Event:
    """Keep the thread busy until the event is set."""
    free, started = threading.Event(), threading.Event()

    def block() -> None:
        started.set()
        free.wait(5)

    batcher.call("hold", block)
    assert started.wait(5)
    return free


def test_jobs_share_batches_up_to_the_largest_and_get_their_own_results() -> None:
    batcher, seen = Batcher(largest=5, wait=0.0), list[list[int]]()
    lane, free = doubled(seen), held(batcher)
    jobs = [batcher.submit(lane, [i, 10 * i]) for i in range(1, 5)]
    free.set()
    assert [job.result(5) for job in jobs] == [[2 * i, 20 * i] for i in range(1, 5)]
    assert seen == [[1, 10, 2, 20], [3, 30, 4, 40]]
    assert batcher.counts.merged == 4
    assert batcher.close(5)


def test_jobs_of_a_lane_that_does_not_merge_run_alone() -> None:
    batcher, seen = Batcher(wait=0.0), list[list[int]]()
    lane, free = doubled(seen, merges=False), held(batcher)
    jobs = [batcher.submit(lane, [i]) for i in range(3)]
    free.set()
    assert [job.result(5) for job in jobs] == [[0], [2], [4]]
    assert seen == [[0], [1], [2]]


def test_the_first_job_waits_for_others_but_no_longer_than_told() -> None:
    batcher, seen = Batcher(largest=8, wait=0.2), list[list[int]]()
    lane, free = doubled(seen), held(batcher)
    crowd = [batcher.submit(lane, [i]) for i in (8, 9)]
    free.set()
    assert [job.result(5) for job in crowd] == [[16], [18]]
    start = time.monotonic()
    first = batcher.submit(lane, [1])
    time.sleep(0.05)
    second = batcher.submit(lane, [2])
    assert (first.result(5), second.result(5)) == ([2], [4])
    assert seen == [[8, 9], [1, 2]]
    assert 0.15 < time.monotonic() - start < 2


def test_a_client_that_is_alone_does_not_wait() -> None:
    batcher, seen = Batcher(wait=60.0), list[list[int]]()
    lane = doubled(seen)
    assert [batcher.submit(lane, [i]).result(5) for i in range(3)] == [[0], [2], [4]]
    assert seen == [[0], [1], [2]]


def test_one_bad_input_fails_its_own_job_alone() -> None:
    batcher, seen = Batcher(wait=0.0), list[list[int]]()
    lane, free = doubled(seen), held(batcher)
    good, bad = batcher.submit(lane, [3]), batcher.submit(lane, [-1])
    free.set()
    assert good.result(5) == [6]
    with pytest.raises(ValueError, match="minus one"):
        bad.result(5)


def test_a_full_queue_refuses_and_says_when_to_come_again() -> None:
    batcher, seen = Batcher(capacity=4), list[list[int]]()
    lane, free = doubled(seen), held(batcher)
    whole = batcher.submit(lane, list(range(9)))  # alone it is taken, or it never would be
    with pytest.raises(BusyError, match="9 inputs are waiting") as caught:
        batcher.submit(lane, [1])
    assert int(caught.value.headers["Retry-After"]) >= 1
    assert batcher.counts.refused == 1
    free.set()
    assert len(whole.result(5)) == 9


def test_a_client_with_many_jobs_leaves_room_and_turns_to_others() -> None:
    batcher, seen = Batcher(largest=2, wait=0.0, capacity=6), list[list[int]]()
    lane, free = doubled(seen), held(batcher)
    many = [batcher.submit(lane, [i, i], ("many", i)) for i in range(3)]
    with pytest.raises(BusyError, match="6 inputs are waiting"):
        batcher.submit(lane, [9], ("many", 9))
    few = batcher.submit(lane, [7], ("few", 10))
    later = batcher.submit(lane, [5], ("many", 0), accepted=True)
    free.set()
    for job in (*many, few, later):
        job.result(5)
    assert seen == [[0, 0], [7, 5], [1, 1], [2, 2]]


def test_all_clients_together_have_a_bound() -> None:
    batcher, seen = Batcher(capacity=2), list[list[int]]()
    lane, free = doubled(seen), held(batcher)
    for i in range(4):
        batcher.submit(lane, [i, i], (f"client {i}", i))
    with pytest.raises(BusyError, match="8 inputs are waiting"):
        batcher.submit(lane, [9], ("another", 9))
    free.set()


def test_cancelled_and_late_jobs_are_dropped_unrun() -> None:
    batcher, seen = Batcher(wait=0.0, timeout=0.05), list[list[int]]()
    lane, free = doubled(seen), held(batcher)
    cancelled, late = batcher.submit(lane, [1]), batcher.submit(lane, [2])
    assert cancelled.cancel()
    time.sleep(0.1)
    free.set()
    with pytest.raises(TimedOutError, match=r"within 0\.05 s"):
        late.result(5)
    with pytest.raises(CancelledError):
        cancelled.result(0)
    assert not seen
    assert batcher.counts.dropped == 2


def test_closing_finishes_what_was_accepted_and_takes_nothing_more() -> None:
    batcher, seen = Batcher(wait=5.0), list[list[int]]()
    lane, free = doubled(seen), held(batcher)
    jobs = [batcher.submit(lane, [i]) for i in range(3)]
    threading.Timer(0.05, free.set).start()
    assert batcher.close(5)
    assert [job.result(0) for job in jobs] == [[0], [2], [4]]
    assert not batcher.alive
    with pytest.raises(ClosingError):
        batcher.submit(lane, [1])


def test_the_rate_of_the_queue_says_how_long_it_is() -> None:
    batcher = Batcher(wait=0.0)
    assert batcher.patience() == 1
    batcher.submit(Lane("slow", lambda items: [time.sleep(0.05)] * len(items), merges=True), [1, 2]).result(5)
    batcher.close(5)
    assert 20 < batcher.counts.rate < 45
