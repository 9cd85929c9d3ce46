"""Batches from rows or a stream: which rows are in a batch, and their views.

A batch is a pure function of the seed, the epoch and its position, so that a training can be resumed anywhere.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from diptych.core import DataError, DiptychError, Row, Run, Sampler, Stream, Table, Trainee, UsageError, World
from diptych.train.schedule import Fit
from diptych.train.stopping import signals_blocked
from diptych.train.streams import Streamed, StreamSource

Batch = Mapping[str, Any]
MOST = 2**20
"""Rows whose order is drawn at once; that of more rows is computed batch by batch."""


class Source(Protocol):
    """The batches of an epoch, from any place in it.

    Attributes:
        skipped: items that could not be read and were left out so far.
    """

    skipped: int

    def count(self) -> int:
        """Return the number of batches in the first epoch."""
        ...

    def epoch(self, epoch: int, last: Any) -> Iterator[tuple[Any, Batch]]:
        """Yield (place, this process's part of the batch) after the place ``last``; None starts the epoch.

        A place is plain data for JSON.
        """
        ...

    def close(self) -> None:
        """End the workers that stay between epochs."""
        ...


def open_source(data: Table[Any] | Stream[Any] | Streamed, trainee: Trainee, fit: Fit, run: Run) -> Source:
    """Return the batches of a table or a stream.

    Raises:
        UsageError: the batch size is not a multiple of the number of processes.
        DataError: the table does not fill one batch.
    """
    if fit.batch % run.world.size:
        raise UsageError(f"batch must be a multiple of the {run.world.size} processes, got {fit.batch}: give one.")
    if isinstance(data, Table):
        return TableSource(data, trainee, trainee.sampler(data, run) or Shuffle(len(data), run.seed), fit.batch, run)
    return StreamSource(
        data if isinstance(data, Streamed) else Streamed(data),
        trainee,
        fit.batch,
        run,
        partial(_streamed, run),
        view_of,
    )


def validation_source(val: Table[Any], trainee: Trainee, fit: Fit, run: Run) -> Source:
    """Return validation rows in batches of the training's size, or smaller ones if there are too few rows.

    The last rows that fill no batch are left out.
    """
    size = max(run.world.size, min(fit.batch, len(val) // run.world.size * run.world.size))
    return TableSource(val, trainee, Shuffle(len(val), run.seed), size, run)


@dataclass(frozen=True)
class Shuffle:
    """All rows in a new order every epoch; the last rows that fill no batch are left out of the epoch.

    Example:
        >>> [len(batch) for batch in Shuffle(rows=7, seed=0).batches(epoch=0, size=3)]
        [3, 3]
        >>> Shuffle(7, 0).batches(0, 3) == Shuffle(7, 0).batches(1, 3)
        False
    """

    rows: int
    seed: int

    def batches(self, epoch: int, size: int) -> Sequence[Sequence[int]]:
        """Return the (rows // size, size) row numbers of an epoch."""
        key = Run(seed=self.seed).integer(f"order/{epoch}")
        if self.rows > MOST:
            return LongOrder(self.rows, key, size)
        order = np.random.default_rng(key).permutation(self.rows)
        return order[: self.rows // size * size].reshape(-1, size).tolist()


@dataclass(frozen=True)
class LongOrder(Sequence[Sequence[int]]):
    """The batches of an epoch of very many rows, each computed when it is asked for; no row is stored.

    The order is a keyed permutation of the numbers below the power of four next above the rows: a Feistel network of
    six rounds, applied until a number below the rows comes out.

    Args:
        rows: N, number of rows, < 2^62.
        key: of the permutation.
        size: rows of a batch.

    Source: Black and Rogaway 2002 (cycle walking).

    Example:
        >>> order = LongOrder(rows=10, key=3, size=5)
        >>> sorted(i for batch in order for i in batch)
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    rows: int
    key: int
    size: int

    def __len__(self) -> int:
        return self.rows // self.size

    @overload
    def __getitem__(self, index: int) -> list[int]: ...

    @overload
    def __getitem__(self, index: slice) -> list[list[int]]: ...

    def __getitem__(self, index: int | slice) -> list[int] | list[list[int]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        first = range(len(self))[index] * self.size
        x = self._permuted(np.arange(first, first + self.size, dtype=np.uint64))
        while (outside := x >= self.rows).any():
            x[outside] = self._permuted(x[outside])
        numbers: list[int] = x.astype(np.int64).tolist()
        return numbers

    def _permuted(self, x: NDArray[np.uint64]) -> NDArray[np.uint64]:
        half = np.uint64(max(1, -(-(self.rows - 1).bit_length() // 2)))
        mask = np.uint64((1 << int(half)) - 1)
        left, right = x >> half, x & mask
        for turn in range(6):
            mixed = right * np.uint64(0x9E3779B97F4A7C15) + np.uint64(self.key * 2 + 1) * np.uint64(turn + 1)
            mixed ^= mixed >> np.uint64(29)
            mixed *= np.uint64(0xBF58476D1CE4E5B9)
            mixed ^= mixed >> np.uint64(32)
            left, right = right, left ^ (mixed & mask)
        return left << half | right


@dataclass(frozen=True)
class TableSource:
    """Batches of a table; the place of a batch is its number in the epoch."""

    table: Table[Any]
    trainee: Trainee
    sampler: Sampler
    size: int
    run: Run
    skipped = 0

    def __post_init__(self) -> None:
        if not self.count():
            raise DataError(f"{len(self.table)} rows do not fill one batch of {self.size}: choose a smaller batch.")

    def count(self) -> int:
        """Return the number of batches in the first epoch."""
        return len(self.sampler.batches(0, self.size))

    def epoch(self, epoch: int, last: Any) -> Iterator[tuple[int, Batch]]:
        """Yield the batches after number ``last``. Workers stay between epochs."""
        start = 0 if last is None else last + 1
        batches = self.sampler.batches(epoch, self.size)
        self._loader[0].now = (epoch, start, batches)
        if start < len(batches):
            yield from enumerate(_raised(self._loader[1]), start)

    def close(self) -> None:
        """End the workers, where nobody reads an epoch any more."""
        self.__dict__.pop("_loader", None)

    @cached_property
    def _loader(self) -> tuple[_Order, DataLoader[Any]]:
        views, order = _TableViews(self.table, self.trainee, self.run), _Order(self.run.world)
        return order, _loader(views, self.run, self.run.workers, order, persistent=True)


class _Order:
    """The batches of the present epoch, for the loader: (epoch, row numbers of this process) of each."""

    def __init__(self, world: World) -> None:
        self.world, self.now = world, (0, 0, cast("Sequence[Sequence[int]]", ()))

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        epoch, start, batches = self.now
        for number in range(start, len(batches)):
            yield epoch, [int(i) for i in _share(batches[number], self.world)]

    def __len__(self) -> int:
        return len(self.now[2]) - self.now[1]


@dataclass(frozen=True)
class _TableViews(Dataset["Batch | DiptychError"]):
    """(Epoch, row numbers) of a batch -> the batch, or the error of a row, for the loader's workers."""

    table: Table[Any]
    trainee: Trainee
    run: Run

    def __getitem__(self, batch: tuple[int, list[int]]) -> Batch | DiptychError:
        epoch, rows = batch
        try:
            return self.trainee.collate([view_of(self.trainee, self._row(i), self.run, epoch) for i in rows])
        except DiptychError as error:
            return error

    def _row(self, i: int) -> Row:
        items = self.table.items
        return Row(items[i], i, items.key(i), {name: c.values[i] for name, c in self.table.columns.items()})


def _share(batch: Sequence[Any], world: World) -> Sequence[Any]:
    """Return the rows of a batch for this process."""
    each = len(batch) // world.size
    return batch[world.rank * each : (world.rank + 1) * each]


def view_of(trainee: Trainee, row: Row, run: Run, epoch: int) -> Batch:
    """Return the view of a row, whose draws are fixed by the seed, the epoch and the row's key."""
    purpose = f"views/{epoch}/{row.key}"
    # torchvision's transforms draw from torch's global generator. Run.seeded would also seed all devices, which is a
    # hundred times slower.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(run.integer(purpose))
        return trainee.views(row, run.generator(purpose))


def _streamed(run: Run, views: Any, workers: int) -> Iterator[Any]:
    return _raised(_loader(views, run, workers, None))


def _loader(views: Any, run: Run, workers: int, order: Any, *, persistent: bool = False) -> DataLoader[Any]:
    workers = min(workers, os.cpu_count() or 1)
    return DataLoader(
        views,
        batch_size=None,
        sampler=order,
        num_workers=workers,
        # Views of many systems are closures, which a fork takes along; since Python 3.14 it is not the default.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        collate_fn=_unchanged,
        generator=run.generator("loader"),  # without one, the loader draws from torch's global generator
        worker_init_fn=_shield,
        pin_memory=run.device.startswith("cuda"),
        persistent_workers=persistent and workers > 0,
    )


def _raised(loader: DataLoader[Any]) -> Iterator[Any]:
    """Yield the batches of the workers in order, and raise their errors, whose type the loader itself would lose."""
    with signals_blocked():
        batches = iter(loader)  # starts the workers
    try:
        for batch in batches:
            if isinstance(batch, DiptychError):
                raise batch
            yield batch
    finally:
        del batches, loader  # an error keeps this frame, and would keep the workers


def _unchanged(batch: Any) -> Any:
    return batch


def _shield(worker: int) -> None:
    """Keep Ctrl-C and SIGTERM from a worker: the training process handles them, and needs its batch for the step.

    A terminal, GNU timeout or a scheduler sends them to the whole process group. SIGTERM of the training process itself
    ends the worker: so it is ended where it is left over.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
        threading.Thread(target=_heed, args=(os.getppid(),), daemon=True).start()


def _heed(parent: int) -> None:
    while signal.sigwaitinfo((signal.SIGTERM,)).si_pid != parent:
        pass
    os._exit(0)
