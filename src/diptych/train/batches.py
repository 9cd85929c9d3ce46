"""From rows to batches: who is in a batch, seen how, read from where. A pure function of (seed, epoch, place), so it
resumes anywhere.
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
    """Batches of an epoch, from any place in it."""

    def count(self) -> int:
        """Return the number of batches in the first epoch."""
        ...

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


def validation_source(val: Table[Any], trainee: Trainee, fit: Fit, run: Run) -> Source:
    """Return validation rows in batches of the training's size, or as large as the rows allow; the last rows that fill
    none stay out.
    """
    size = max(run.world.size, min(fit.batch, len(val) // run.world.size * run.world.size))
    return TableSource(val, trainee, Shuffle(len(val), run.seed), size, run)


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
        views = _TableViews(self.table, self.trainee, self.run.seed, epoch)
        yield from enumerate(
            _loaded(views, self.run, [[int(i) for i in _share(b, self.run.world)] for b in batches]), start
        )


@dataclass(frozen=True)
class StreamSource:
    """Batches of a stream, in its own order; a place is the position of the batch's last item.

    Every process and worker passes over all items, but makes views of its own only: keep decoding in ``Trainee.views``.
    """

    stream: Stream[Any]
    trainee: Trainee
    size: int
    run: Run

    def count(self) -> int:
        """Refuse to count.

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
        # Seeking to the last item and passing over it asks nothing of how positions are counted.
        items = iter(self.stream) if self.last is None else islice(self.stream.seek(self.last), 1, None)
        number = 0
        while len(batch := list(islice(items, self.size))) == self.size:
            if number % workers == mine:
                rows = [Row(item, position, str(position)) for position, item in _share(batch, self.world)]
                yield batch[-1][0], _batch(self.trainee, rows, self.seed, self.epoch)
            number += 1


def _share(batch: Sequence[Any], world: World) -> Sequence[Any]:
    """Return the rows of a batch that fall to this process."""
    each = len(batch) // world.size
    return batch[world.rank * each : (world.rank + 1) * each]


def _batch(trainee: Trainee, rows: Sequence[Row], seed: int, epoch: int) -> Batch:
    return trainee.collate([_view(trainee, row, Run(seed=seed), f"views/{epoch}/{row.key}") for row in rows])


def _view(trainee: Trainee, row: Row, run: Run, purpose: str) -> Batch:
    # torchvision's transforms draw from torch's global generator. Run.seeded seeds all devices' too, a hundred times
    # slower.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(run.integer(purpose))
        return trainee.views(row, run.generator(purpose))


def _loaded(views: Any, run: Run, order: list[list[int]] | None) -> Iterator[Any]:
    """Yield what the workers make, in order, and raise here the errors that they met: the loader itself would lose
    their type.
    """
    if order == []:
        return
    loader = DataLoader(
        views,
        batch_size=None,
        sampler=order,
        num_workers=min(run.workers, os.cpu_count() or 1),
        collate_fn=_as_it_is,
        generator=run.generator("loader"),  # without one, the loader draws from torch's global generator
        worker_init_fn=_leave_interrupts,
        pin_memory=run.device.startswith("cuda"),
    )
    for made in loader:
        if isinstance(made, DiptychError):
            raise made
        yield made


def _as_it_is(made: Any) -> Any:
    return made


def _leave_interrupts(worker: int) -> None:
    """Let Ctrl-C reach the training process only, which still wants its batch to end the step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
