"""From rows to batches: who is in a batch, seen how, read from where. A pure function of (seed, epoch, place), so it resumes anywhere."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from diptych.core.data import Stream, Table
from diptych.core.errors import DataError, UsageError
from diptych.core.run import Run, World
from diptych.core.train import Row, Sampler, Trainee
from diptych.train.schedule import Fit

Batch = Mapping[str, Any]


class Source(Protocol):
    """Batches of an epoch, from any place in it."""

    def epoch(self, epoch: int, last: int | None) -> Iterator[tuple[int, Batch]]:
        """Yield (place, this process's share of the batch) after the place ``last``; None starts the epoch."""
        ...


def open_source(data: Table[Any] | Stream[Any], trainee: Trainee, fit: Fit, run: Run) -> Source:
    """Return the batches of a table or a stream.

    Raises:
        UsageError: the batch does not divide among the processes.
        DataError: the table does not fill one batch.
    """
    if fit.batch % run.world.size:
        raise UsageError(f"A batch of {fit.batch} does not divide among {run.world.size} processes: choose a multiple.")
    if isinstance(data, Table):
        return TableSource(data, trainee, trainee.sampler(data, run) or Shuffle(len(data), run.seed), fit.batch, run)
    return StreamSource(data, trainee, fit.batch, run)


@dataclass(frozen=True)
class Shuffle:
    """All rows in a new order every epoch; the last rows that fill no batch sit this epoch out.

    Args:
        rows: number of rows.
        seed: of the run.
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
    """Batches of a table; a place is the number of the batch in its epoch."""

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
        tickets = [[(epoch, int(i)) for i in _share(b, self.run.world)] for b in batches]
        if tickets:
            views = _TableViews(self.table, self.trainee, self.run.seed)
            yield from enumerate(_loader(views, self.trainee, self.run, batch_sampler=tickets), start)


@dataclass(frozen=True)
class StreamSource:
    """Batches of a stream, in its own order; a place is the position of the batch's last item.

    Every process and worker passes over all items, but makes views of its own only: keep decoding in ``Trainee.views``.
    """

    stream: Stream[Any]
    trainee: Trainee
    size: int
    run: Run

    def epoch(self, epoch: int, last: int | None) -> Iterator[tuple[int, Batch]]:
        """Yield the batches after position ``last``."""
        views = _StreamViews(self.stream, self.trainee, self.run.seed, self.size, self.run.world, epoch, last)
        yield from _loader(views, None, self.run, batch_size=None)


@dataclass(frozen=True)
class _TableViews(Dataset[Batch]):
    table: Table[Any]
    trainee: Trainee
    seed: int

    def __getitem__(self, ticket: tuple[int, int]) -> Batch:
        epoch, i = ticket
        items = self.table.items
        row = Row(items[i], i, items.key(i), {name: c.values[i] for name, c in self.table.columns.items()})
        return _view(self.trainee, row, self.seed, epoch)


@dataclass(frozen=True)
class _StreamViews(IterableDataset[tuple[int, Batch]]):
    stream: Stream[Any]
    trainee: Trainee
    seed: int
    size: int
    world: World
    epoch: int
    last: int | None

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        worker = get_worker_info()
        mine, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        # Seeking to the last item and passing over it asks nothing of how positions are counted.
        items = iter(self.stream) if self.last is None else islice(self.stream.seek(self.last), 1, None)
        number = 0
        while len(batch := list(islice(items, self.size))) == self.size:
            if number % workers == mine:
                rows = [Row(item, position, str(position)) for position, item in _share(batch, self.world)]
                yield batch[-1][0], self.trainee.collate([_view(self.trainee, row, self.seed, self.epoch) for row in rows])
            number += 1


def _share(batch: Sequence[Any], world: World) -> Sequence[Any]:
    """Return the rows of a batch that fall to this process."""
    each = len(batch) // world.size
    return batch[world.rank * each : (world.rank + 1) * each]


def _view(trainee: Trainee, row: Row, seed: int, epoch: int) -> Batch:
    return trainee.views(row, Run(seed=seed).generator(f"views/{epoch}/{row.key}"))


def _loader(views: Any, trainee: Trainee | None, run: Run, **how: Any) -> DataLoader[Any]:
    return DataLoader(
        views,
        num_workers=min(run.workers, os.cpu_count() or 1),
        collate_fn=trainee.collate if trainee else None,
        generator=run.generator("loader"),  # without one, the loader draws from torch's global generator
        worker_init_fn=_leave_interrupts,
        pin_memory=run.device.startswith("cuda"),
        **how,
    )


def _leave_interrupts(worker: int) -> None:
    """Let Ctrl-C reach the training process only, which still wants its batch to end the step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
