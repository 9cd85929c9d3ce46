"""Batches from rows or a stream: which rows are in a batch, and their views.

A batch is a pure function of the seed, the epoch and its position, so that a training can be resumed anywhere.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from diptych.core.data import Stream, Table
from diptych.core.errors import DataError, DiptychError, UsageError
from diptych.core.run import Run, World
from diptych.core.train import Row, Sampler, Trainee
from diptych.train.schedule import Fit

Batch = Mapping[str, Any]


class Source(Protocol):
    """The batches of an epoch, from any position in it."""

    def count(self) -> int:
        """Return the number of batches in the first epoch."""
        ...

    def epoch(self, epoch: int, last: int | None) -> Iterator[tuple[int, Batch]]:
        """Yield (position, this process's part of the batch) after the position ``last``; None starts the epoch."""
        ...


def open_source(data: Table[Any] | Stream[Any], trainee: Trainee, fit: Fit, run: Run) -> Source:
    """Return the batches of a table or a stream.

    Raises:
        UsageError: the batch size is not a multiple of the number of processes.
        DataError: the table does not fill one batch.
    """
    if fit.batch % run.world.size:
        raise UsageError(f"batch must be a multiple of the {run.world.size} processes, got {fit.batch}: give one.")
    if isinstance(data, Table):
        return TableSource(data, trainee, trainee.sampler(data, run) or Shuffle(len(data), run.seed), fit.batch, run)
    return StreamSource(data, trainee, fit.batch, run)


def validation_source(val: Table[Any], trainee: Trainee, fit: Fit, run: Run) -> Source:
    """Return validation rows in batches of the training's size, or smaller ones if there are too few rows.

    The last rows that fill no batch are left out.
    """
    size = max(run.world.size, min(fit.batch, len(val) // run.world.size * run.world.size))
    return TableSource(val, trainee, Shuffle(len(val), run.seed), size, run)


@dataclass(frozen=True)
class Shuffle:
    """All rows in a new order every epoch; the last rows that fill no batch are left out of the epoch.

    Args:
        rows: number of rows.
        seed: of the run.

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
        order = np.random.default_rng(Run(seed=self.seed).integer(f"order/{epoch}")).permutation(self.rows)
        batches: list[list[int]] = order[: self.rows // size * size].reshape(-1, size).tolist()
        return batches


@dataclass(frozen=True)
class TableSource:
    """Batches of a table; the position of a batch is its number in the epoch."""

    table: Table[Any]
    trainee: Trainee
    sampler: Sampler
    size: int
    run: Run

    def __post_init__(self) -> None:
        if not self.count():
            raise DataError(f"{len(self.table)} rows do not fill one batch of {self.size}: choose a smaller batch.")

    def count(self) -> int:
        """Return the number of batches in the first epoch."""
        return len(self.sampler.batches(0, self.size))

    def epoch(self, epoch: int, last: int | None) -> Iterator[tuple[int, Batch]]:
        """Yield the batches after number ``last``."""
        start = 0 if last is None else last + 1
        batches = self.sampler.batches(epoch, self.size)[start:]
        views = _TableViews(self.table, self.trainee, self.run.seed, epoch)
        yield from enumerate(
            _loaded(views, self.run, [[int(i) for i in _share(b, self.run.world)] for b in batches]), start
        )


@dataclass(frozen=True)
class StreamSource:
    """Batches of a stream, in its order; the position of a batch is that of its last item.

    Every process and every worker reads all items, and makes views of its part alone, so decoding belongs in
    ``Trainee.views``.
    """

    stream: Stream[Any]
    trainee: Trainee
    size: int
    run: Run

    def count(self) -> int:
        """Raise an error: a stream has no length.

        Raises:
            UsageError: always.
        """
        raise UsageError("A stream has no length: give the length of the training in steps.")

    def epoch(self, epoch: int, last: int | None) -> Iterator[tuple[int, Batch]]:
        """Yield the batches after position ``last``."""
        views = _StreamViews(self.stream, self.trainee, self.run.seed, self.size, self.run.world, epoch, last)
        yield from _loaded(views, self.run, None)


@dataclass(frozen=True)
class _TableViews(Dataset["Batch | DiptychError"]):
    """Row numbers of a batch -> the batch, or the error of a row, for the loader's workers."""

    table: Table[Any]
    trainee: Trainee
    seed: int
    epoch: int

    def __getitem__(self, batch: list[int]) -> Batch | DiptychError:
        try:
            return _batch(self.trainee, [self._row(i) for i in batch], self.seed, self.epoch)
        except DiptychError as error:
            return error

    def _row(self, i: int) -> Row:
        items = self.table.items
        return Row(items[i], i, items.key(i), {name: c.values[i] for name, c in self.table.columns.items()})


@dataclass(frozen=True)
class _StreamViews(IterableDataset["tuple[int, Batch] | DiptychError"]):
    """The batches of a stream, or the error of an item, for the loader's workers."""

    stream: Stream[Any]
    trainee: Trainee
    seed: int
    size: int
    world: World
    epoch: int
    last: int | None

    def __iter__(self) -> Iterator[tuple[int, Batch] | DiptychError]:
        try:
            yield from self._batches()
        except DiptychError as error:
            yield error

    def _batches(self) -> Iterator[tuple[int, Batch]]:
        worker = get_worker_info()
        mine, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        # Seeking to the last item and skipping it needs no assumption about how positions are counted.
        items = iter(self.stream) if self.last is None else islice(self.stream.seek(self.last), 1, None)
        number = 0
        while len(batch := list(islice(items, self.size))) == self.size:
            if number % workers == mine:
                rows = [Row(item, position, str(position)) for position, item in _share(batch, self.world)]
                yield batch[-1][0], _batch(self.trainee, rows, self.seed, self.epoch)
            number += 1


def _share(batch: Sequence[Any], world: World) -> Sequence[Any]:
    """Return the rows of a batch for this process."""
    each = len(batch) // world.size
    return batch[world.rank * each : (world.rank + 1) * each]


def _batch(trainee: Trainee, rows: Sequence[Row], seed: int, epoch: int) -> Batch:
    return trainee.collate([_view(trainee, row, Run(seed=seed), f"views/{epoch}/{row.key}") for row in rows])


def _view(trainee: Trainee, row: Row, run: Run, purpose: str) -> Batch:
    # torchvision's transforms draw from torch's global generator. Run.seeded would also seed all devices, which is a
    # hundred times slower.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(run.integer(purpose))
        return trainee.views(row, run.generator(purpose))


def _loaded(views: Any, run: Run, order: list[list[int]] | None) -> Iterator[Any]:
    """Yield the batches of the workers in order, and raise their errors, whose type the loader itself would lose."""
    if order == []:
        return
    loader = DataLoader(
        views,
        batch_size=None,
        sampler=order,
        num_workers=min(run.workers, os.cpu_count() or 1),
        collate_fn=_unchanged,
        generator=run.generator("loader"),  # without one, the loader draws from torch's global generator
        worker_init_fn=_ignore_interrupts,
        pin_memory=run.device.startswith("cuda"),
    )
    for batch in loader:
        if isinstance(batch, DiptychError):
            raise batch
        yield batch


def _unchanged(batch: Any) -> Any:
    return batch


def _ignore_interrupts(worker: int) -> None:
    """Ignore Ctrl-C in a worker: the training process handles it, and needs its batch to finish the step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
