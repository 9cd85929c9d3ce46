"""The micro-batcher: one thread that runs the models, and joins what waits for the same encoder into one batch.

A job joins another's batch only where its lane says that this changes no result. The thread takes the next job, and
waits a few milliseconds for others of its lane while the batch is not full, but only where others are to be expected:
two jobs of the lane wait, or its last batch held several. So a single client never waits for others, and many clients
share batches. Clients take turns: which job is next, and which others join its batch, does not depend on how many jobs
one client has.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from diptych.serve.refusals import BusyError, ClosingError, TimedOutError
from diptych.serve.turns import NOBODY, Asker, Turns

T = TypeVar("T")
SMOOTHING = 0.2
"""Weight of the newest batch in the moving average of inputs a second."""
CLIENTS = 4
"""Inputs of all clients that may wait, in multiples of those of one."""


@dataclass(frozen=True)
class Lane:
    """Work that may share a batch.

    Args:
        name: of the lane, for metrics.
        run: takes the inputs of a batch and returns one result each, in order.
        merges: whether inputs of several jobs may be one batch.
    """

    name: str
    run: Callable[[list[Any]], Sequence[Any]]
    merges: bool


@dataclass(eq=False)
class Job:
    """Inputs that wait for a lane.

    Args:
        lane: what runs them.
        deadline: of ``time.monotonic``; after it the job is dropped.
        asker: the client and its request.
        future: gets the list of results.
        arrived: of ``time.monotonic``.
    """

    lane: Lane
    items: Sequence[Any]
    deadline: float
    asker: Asker = NOBODY
    future: Future[list[Any]] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)


@dataclass
class Counts:
    """What the batcher did, for metrics; written by its thread.

    Args:
        merged: number of jobs that shared a batch with another.
        dropped: jobs that were cancelled or too late before they ran.
        rate: inputs a second, a moving average; 0: unknown.
    """

    batches: int = 0
    inputs: int = 0
    merged: int = 0
    dropped: int = 0
    refused: int = 0
    seconds: float = 0.0
    rate: float = 0.0


class Batcher:
    """A bounded queue and the thread that empties it.

    Args:
        largest: most inputs of a batch that joins several jobs.
        wait: seconds that the first job of a batch waits for others, where they are to be expected.
        capacity: inputs of one client that may wait, and ``CLIENTS`` times as many of all; a job that finds none of its
            client is taken whatever its size.
        timeout: seconds from arrival until a job that has not run is dropped.
    """

    ran: Callable[[str, int, float, Sequence[float]], None] | None = None
    """Called after each batch with its lane, its inputs, the seconds it took, and the seconds that its jobs waited."""

    def __init__(self, largest: int = 32, wait: float = 0.004, capacity: int = 256, timeout: float = 30.0) -> None:
        self.largest, self.wait, self.capacity, self.timeout = largest, wait, capacity, timeout
        self.counts = Counts()
        self._jobs: Turns[Job] = Turns()
        self._waiting = 0
        self._closing = False
        self._shared: dict[str, bool] = {}  # lane -> whether its last batch held several jobs
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="models", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Number of inputs that wait."""
        return self._waiting

    @property
    def alive(self) -> bool:
        """Whether jobs are taken and run."""
        return self._thread.is_alive() and not self._closing

    def submit(
        self, lane: Lane, items: Sequence[Any], asker: Asker = NOBODY, *, accepted: bool = False
    ) -> Future[list[Any]]:
        """Queue a job and return the future of its results, one an input.

        Args:
            lane: runs them.
            items: inputs.
            asker: the client and its request.
            accepted: whether a part of the request was taken before; then this one is, too.

        Raises:
            BusyError: the queue is full.
            ClosingError: the batcher is stopping.
        """
        job = Job(lane, items, time.monotonic() + self.timeout, asker)
        with self._changed:
            if self._closing:
                raise ClosingError
            if not accepted:
                self._admit(asker[0], len(items))
            self._jobs.put(asker, job)
            self._waiting += len(items)
            self._changed.notify_all()
        return job.future

    def _admit(self, client: str, count: int) -> None:
        """Raise BusyError where a client has no room for so many inputs."""
        of_client = sum(len(job.items) for job in self._jobs.of(client))
        for waiting, most in ((of_client, self.capacity), (self._waiting, CLIENTS * self.capacity)):
            if waiting and waiting + count > most:
                self.counts.refused += 1
                raise BusyError(waiting, self.patience())

    def call(self, name: str, function: Callable[[], T], asker: Asker = NOBODY) -> Future[list[T]]:
        """Queue any work on the models, alone; the result is a list of one."""
        return self.submit(Lane(name, lambda items: [items[0]()], merges=False), [function], asker)

    def patience(self) -> int:
        """Return the whole seconds, at least 1, until what waits now is done at the present rate."""
        rate = self.counts.rate
        return max(1, min(60, math.ceil(self._waiting / rate))) if rate > 0 else 1

    def close(self, timeout: float | None = None) -> bool:
        """Take no more jobs, finish those that wait, and return whether all were finished in time."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (jobs := self._next()) is not None:
            self._run(jobs)

    def _next(self) -> list[Job] | None:
        """Wait for jobs, and take those of one batch; None where there are none and none will come."""
        with self._changed:
            while not self._jobs:
                if self._closing:
                    return None
                self._changed.wait()
            head = next(iter(self._jobs))
            until = head.arrived + self.wait
            while head.lane.merges and not self._closing and self._size(head.lane) < self.largest:
                left = until - time.monotonic()
                if left <= 0 or not (self._shared.get(head.lane.name) or self._several(head.lane)):
                    break
                self._changed.wait(left)
            taken = self._taken(head)
            self._shared[head.lane.name] = len(taken) > 1
            for job in taken:
                self._jobs.remove(job.asker, job)
            self._waiting -= sum(len(job.items) for job in taken)
            return taken

    def _size(self, lane: Lane) -> int:
        return sum(len(job.items) for job in self._jobs if job.lane is lane)

    def _several(self, lane: Lane) -> bool:
        return sum(job.lane is lane for job in self._jobs) > 1

    def _taken(self, head: Job) -> list[Job]:
        """Return the head and, where its lane merges, the jobs of its lane that fit beside it, in turn."""
        taken, size = [head], len(head.items)
        if head.lane.merges:
            for job in self._jobs:
                if job is not head and job.lane is head.lane and size + len(job.items) <= self.largest:
                    taken.append(job)
                    size += len(job.items)
        return taken

    def _run(self, jobs: list[Job]) -> None:
        now = time.monotonic()
        ready = []
        for job in jobs:
            if not job.future.set_running_or_notify_cancel():
                self.counts.dropped += 1
            elif now > job.deadline:
                self.counts.dropped += 1
                job.future.set_exception(TimedOutError(self.timeout))
            else:
                ready.append(job)
        if not ready:
            return
        items = [item for job in ready for item in job.items]
        try:
            results = list(ready[0].lane.run(items))
            assert len(results) == len(items), f"{ready[0].lane.name}: {len(results)} results of {len(items)} inputs"
        except Exception as error:
            if len(ready) == 1:
                ready[0].future.set_exception(error)
            else:  # one job's inputs must not fail the others
                for job in ready:
                    self._alone(job)
            return
        start = 0
        for job in ready:
            job.future.set_result(results[start : start + len(job.items)])
            start += len(job.items)
        seconds = time.monotonic() - now
        self._count(ready, len(items), seconds)
        if self.ran is not None:
            self.ran(ready[0].lane.name, len(items), seconds, [now - job.arrived for job in ready])

    def _alone(self, job: Job) -> None:
        try:
            job.future.set_result(list(job.lane.run(list(job.items))))
        except Exception as error:
            job.future.set_exception(error)

    def _count(self, jobs: list[Job], size: int, seconds: float) -> None:
        counts = self.counts
        counts.batches += 1
        counts.inputs += size
        counts.merged += len(jobs) if len(jobs) > 1 else 0
        counts.seconds += seconds
        rate = size / max(seconds, 1e-6)
        counts.rate = rate if not counts.rate else (1 - SMOOTHING) * counts.rate + SMOOTHING * rate
