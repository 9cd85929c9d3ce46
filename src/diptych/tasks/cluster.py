"""Workers on a Ray cluster, as an executor: what is submitted runs in other processes, and runs again where one of them
dies.

Ray's usage statistics are off, its dashboard is off, and a local cluster listens on 127.0.0.1 alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from diptych import __version__
from diptych.core import DiptychError, Run, Samples, Subset, UsageError
from diptych.core.errors import need_extra
from diptych.core.run import Engine, Job
from diptych.data.folders import ImageFiles
from diptych.data.joined import Joined
from diptych.features.pipeline import cores

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")

RETRIES = 5
"""Times a piece of work is begun again because its worker died, before the run ends with an error."""
_PATIENCE = 5.0  # seconds for an address to answer
_OBJECTS = 256 * 2**20  # bytes of shared memory of a local cluster: it holds what is shared, vectors go to the store
_FETCHED: dict[str, Any] = {}
_ONE_AT_A_TIME = threading.Lock()  # a pool may be threads of one process, and another pool's would clear what is read


@dataclass(frozen=True)
class Shared(Generic[T]):
    """A value that a worker process fetches once, however many pieces of work name it; the last one stays in memory.

    Args:
        name: unique in the life of a process: a second value of that name would never be fetched.
        fetch: returns it.
    """

    name: str
    fetch: Callable[[], T]

    def value(self) -> T:
        """Return the value."""
        with _ONE_AT_A_TIME:
            if self.name not in _FETCHED:
                _FETCHED.clear()
                _FETCHED[self.name] = self.fetch()
            value: T = _FETCHED[self.name]
        return value


@dataclass(frozen=True)
class Home:
    """What a worker must share with the driver.

    Args:
        folder: in which relative paths begin.
    """

    folder: str
    version: str = __version__

    @classmethod
    def here(cls) -> Home:
        """Return that of this process."""
        return cls(os.getcwd())

    def settle(self) -> str:
        """Go to the driver's folder and return the host's name; raises DiptychError where the worker cannot work."""
        host = socket.gethostname()
        if self.version != __version__:
            raise DiptychError(
                f"The worker on {host} has diptych {__version__}, and this is {self.version}: install the same on all."
            )
        try:
            os.chdir(self.folder)
        except OSError:
            raise UsageError(
                f"The worker on {host} has no folder {self.folder}: workers must see the folders that you see."
            ) from None
        return host


class Pool(Protocol):
    """What big runs need of a cluster.

    Attributes:
        size: workers.
    """

    size: int

    def submit(self, fn: Callable[..., R], /, *given: Any) -> Future[R]:
        """Run a function of a module elsewhere."""

    def share(self, value: T) -> Shared[T]:
        """Bring a value to all workers."""


class Cluster(Executor):
    """A Ray cluster; leave it with ``shutdown`` or as a context manager. A process has one at a time.

    Args:
        address: "local:N" starts N workers on this machine, and "local" one a core; "auto" finds the cluster that this
            machine belongs to, HOST:PORT another one.

    Raises:
        MissingExtra: ray is not installed.
        UsageError: no such address, or nothing answers there, or the cluster has too few CPUs for one worker.
    """

    def __init__(self, address: str = "auto", threads: int = 1, gpus: int = 0) -> None:
        if threads < 1:
            raise UsageError(f"A worker has at least 1 CPU, not {threads}.")
        self._ray = _connected(address, threads)
        held = self._ray.cluster_resources()
        self.size = int(held.get("CPU", 0) // threads if not gpus else held.get("GPU", 0) // gpus)
        if self.size < 1:
            self.shutdown()
            raise UsageError(
                f"The cluster {address} has no room for a worker of {threads} CPUs and {gpus} GPUs: ask for less."
            )
        self._call = self._ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=RETRIES)(_call)

    def submit(self, fn: Callable[..., R], /, *given: Any, **named: Any) -> Future[R]:
        """Run a function of a module on a worker; the future raises its error, or ours if workers keep dying of it."""
        future: Future[R] = Future()
        future.set_running_or_notify_cancel()  # what is handed over is not called back
        self._call.remote(fn, given, named).future().add_done_callback(partial(_settle, future))
        return future

    def share(self, value: T) -> Shared[T]:
        """Put a value where every worker fetches it once."""
        place = self._ray.put(value)
        return Shared(place.hex(), partial(_get, place))

    def spread(self, job: Job[S, R], items: Samples[S], run: Run, /) -> Iterator[R]:
        """Yield the results of a job in the order of the items, pieces of which the workers do; see ``spread``."""
        return spread(self, job, items, run)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster; a local one ends. Work that is not finished ends too."""
        self._ray.shutdown()


def each(pool: Pool, work: Callable[..., R], parts: Iterable[tuple[Any, ...]]) -> Iterator[tuple[int, R]]:
    """Yield (number of the part, result) as they come, with twice as many under way as there are workers."""
    numbered, waiting = enumerate(parts), dict[Future[R], int]()
    while True:
        for number, part in islice(numbered, 2 * pool.size - len(waiting)):
            waiting[pool.submit(work, *part)] = number
        if not waiting:
            return
        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
            yield waiting.pop(future), future.result()


@dataclass(frozen=True)
class Spread(Generic[S, R]):
    """A job as workers are given it.

    Args:
        job: yields one result for each item.
        items: all of them; a worker opens those of its piece.
        run: of the driver, whose folders the workers must see.
        engine: of the run, which a copy of it lacks.
        home: of the driver.
    """

    job: Job[S, R]
    items: Samples[S]
    run: Run
    engine: Engine | None
    home: Home

    def of(self, start: int, stop: int) -> list[R]:
        """Return the results of a piece."""
        self.home.settle()
        piece = Subset(self.items, tuple(range(start, stop)))
        return list(self.job(piece, replace(self.run, engine=self.engine)))


def spread(pool: Pool, job: Job[S, R], items: Samples[S], run: Run) -> Iterator[R]:
    """Yield the results of a job in the order of the items, pieces of which workers do, ``run.batch`` items each.

    Twice as many pieces as there are workers are under way or done before their turn.

    Args:
        pool: the workers.
        job: yields one result for each item, whatever the other items are; both are pickled.
        items: N samples.
        run: device, engine and folders, which the workers must see.

    Raises:
        DiptychError: as the job says, or workers keep dying.
    """
    folders = {name: path and path.absolute() for name in ("cache", "shared_cache") if (path := getattr(run, name))}
    order = pool.share(Spread(job, portable(items), replace(run, **folders), run.engine, Home.here()))
    size, under_way = max(run.batch, 1), deque[Future[list[R]]]()
    for start in range(0, len(items), size):
        under_way.append(pool.submit(_piece, order, start, min(start + size, len(items))))
        if len(under_way) > 2 * pool.size:
            yield from under_way.popleft().result()
    while under_way:
        yield from under_way.popleft().result()


def portable(items: Samples[Any]) -> Samples[Any]:
    """Return the items without the file of remembered keys, which is the driver's."""
    if isinstance(items, Joined):
        return Joined(tuple(portable(part) for part in items.parts))
    if isinstance(items, Subset):
        return Subset(portable(items.samples), items.indices)
    return replace(items, keys=None) if isinstance(items, ImageFiles) else items


def _piece(order: Shared[Spread[S, R]], start: int, stop: int) -> list[R]:
    return order.value().of(start, stop)


def _connected(address: str, threads: int) -> Any:
    local = re.fullmatch(r"local(?::([1-9]\d{0,3}))?", address)
    if not local and address != "auto" and not re.fullmatch(r"(?!local:)[A-Za-z0-9.-]+:\d{1,5}", address):
        raise UsageError(
            f"{address!r} is not a cluster: use local:2 (workers on this machine), auto, or HOST:PORT of a Ray head."
        )
    need_extra("scale", "Work on a cluster")
    import ray

    if ray.is_initialized():
        raise UsageError("This process has a cluster already: leave it first.")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # Ray's own servers inherit it
    if local:
        cpus = int(local[1] or max(1, cores() // threads)) * threads
        here = {"include_dashboard": False, "object_store_memory": _OBJECTS, "_node_ip_address": "127.0.0.1"}
        ray.init("local", num_cpus=cpus, **here, **quiet)
        return ray
    try:
        if address != "auto":  # Ray itself would try for a minute
            host, _, port = address.rpartition(":")
            with contextlib.closing(socket.create_connection((host, int(port)), _PATIENCE)):
                pass
        ray.init(address, **quiet)
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"No Ray cluster answers at {address} ({str(error).splitlines()[0][:80]}): start one with 'ray start "
            f"--head', or use local:2."
        ) from None
    return ray


def _call(fn: Callable[..., R], given: tuple[Any, ...], named: dict[str, Any]) -> R:
    return fn(*given, **named)


def _get(place: Any) -> Any:
    import ray

    return ray.get(place)


def _settle(future: Future[Any], done: Future[Any]) -> None:
    from ray.exceptions import RayError, RayTaskError

    error = done.exception()
    if error is None:
        future.set_result(done.result())
    elif isinstance(error, RayTaskError):
        future.set_exception(error.cause if isinstance(error.cause, DiptychError) else error)
    elif isinstance(error, RayError):
        future.set_exception(
            DiptychError(
                f"Workers died {RETRIES + 1} times of the same work ({type(error).__name__}): give each more memory, "
                f"or a smaller {{batch}};"
                " what was finished is kept."
            )
        )
    else:
        future.set_exception(error)
