"""Batches of streams: shards split over processes and workers, shuffled, and resumed where the training stopped.

Nothing is stored for each item: a stream may have any number of them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from diptych.core import DiptychError, Row, Run, Stream, Trainee, UnreadableItem, UsageError
from diptych.core.errors import SkippedRow
from diptych.data.skipped import SkippedOnce

LANES = 8
"""Shards that a process reads at once where nobody says how many, and so the number of workers that share them."""
MOST_LANES = 256
"""Shards that a process may read at once."""
SHUFFLE = 4096
"""Items of a process among which the next ones are drawn."""
Mark = tuple[int, int, int]
"""Place in a lane: number of the piece, position of its block, and items of the block that were used."""
ENDED: Mark = (-1, 0, 0)
START: Mark = (0, -1, 0)


@runtime_checkable
class _Parted(Protocol):
    """A stream of many files, such as ``data.formats.tars.TarStream``."""

    @property
    def shards(self) -> Sequence[str]:
        """Paths, in reading order."""
        ...

    def parts(self, count: int) -> Sequence[Stream[Any]]:
        """Return at most ``count`` streams of whole files; each item is in one of them, at the same position."""
        ...


@runtime_checkable
class _Outcomes(Protocol):
    """A stream that yields the error of an item in its place."""

    def outcomes(self) -> Iterator[tuple[int, Any]]:
        """Yield (position, item or UnreadableItem)."""
        ...


@dataclass(frozen=True)
class Streamed:
    """A stream and how a training reads it.

    A stream of two shards or more a process is split: each process has shards of its own, and each of its workers.
    They are in another order in every epoch. The items of another stream, such as the rows of a table in a file, are
    read by every process and worker, which make views of their own part alone, so decoding belongs in
    ``Trainee.views``.

    An epoch has no item twice, but not every item: the last ones of each lane that fill no batch of its process, fewer
    than one batch a lane, are left out, others in every epoch where ``shuffle`` is above 1. A stream that is not split
    is one lane, whose batch is that of all processes.

    With ``weights`` the shards of an epoch are drawn with replacement: each lane of each process draws its own, about
    as many in all as there are, so that two lanes or epochs may read one shard. What a lane draws depends on the seed,
    the epoch, the process and the lane.

    Args:
        stream: any; a pair, see ``core.curate.Curator``, becomes a row with the picture as its item and the columns of
            the pair, such as several captions with weights, or else its text in "captions".
        shuffle: items among which the next ones are drawn, shared by the lanes of a process, >= 1; 1 keeps the order
            of the stream.
        without: positions that are left out, such as those of held-out items.
        skip: whether items that cannot be read are left out and counted; False: the first one is an error.
        lanes: shards that are read at once in a process, 1 to 256, and the most workers that share them; fewer where
            there are fewer shards and no weights.
        weights: of the shards, >= 0: one is drawn in proportion to its weight, as open_clip's ``--dataset-resampled``
            does. None: every shard once per epoch.

    Raises:
        UsageError: a number is out of its range, or there are not as many weights as shards.
    """

    stream: Stream[Any]
    shuffle: int = SHUFFLE
    without: frozenset[int] = frozenset()
    skip: bool = False
    lanes: int = LANES
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.shuffle < 1 or not 1 <= self.lanes <= MOST_LANES:
            raise UsageError(
                f"A stream is shuffled among at least one item on 1 to {MOST_LANES} lanes, got {self.shuffle} and "
                f"{self.lanes}."
            )
        if self.weights is None:
            return
        shards = len(self.stream.shards) if isinstance(self.stream, _Parted) else 0
        if len(self.weights) != shards or not all(0 <= w < math.inf for w in self.weights) or not sum(self.weights):
            raise UsageError(
                f"Shards are drawn by one weight each, at least 0 and not all 0, got {len(self.weights)} for {shards} "
                f"shards: give as many, or None."
            )


@dataclass
class StreamSource:
    """Batches of a stream; the place of a batch says where each lane stands. What cannot be read is listed in
    skipped.csv of the run's folder, once.

    Args:
        data: the stream, and how it is read.
        size: items of a batch, of all processes.
        run: seed, world and workers.
        load: (dataset, workers) -> its batches in order, with errors raised.
        view: (trainee, row, run, epoch) -> the view of a row.
    """

    data: Streamed
    trainee: Trainee
    size: int
    run: Run
    load: Callable[[Any, int], Iterator[Any]]
    view: Callable[[Trainee, Row, Run, int], Mapping[str, Any]]
    skipped: int = field(default=0, init=False)
    """Items that could not be read."""

    def count(self) -> int:
        """Raise an error: a stream has no length.

        Raises:
            UsageError: always.
        """
        raise UsageError("A stream has no length: give the length of the training in steps.")

    def epoch(self, epoch: int, last: Any) -> Iterator[tuple[Any, Mapping[str, Any]]]:
        """Yield (place, this process's part of the batch) after the place ``last``; None starts the epoch."""
        views = _LaneViews(self.data, self.trainee, self.size, self.run, epoch, last, self.view)
        lanes, marks = views.lanes, views.marks
        listed = SkippedOnce(self.run.out, self.run.world.rank)
        fitting = [n for n in range(1, lanes + 1) if lanes % n == 0 and n <= self.run.workers]
        workers = max(fitting, default=0) if lanes else self.run.workers
        for lane, mark, batch, broken in self.load(views, workers):
            if broken and not self.skipped:
                first = ": ".join(broken[0].values())
                warnings.warn(f"Items that cannot be read are left out; the first: {first}.", stacklevel=2)
            self.skipped += len(broken)
            listed.add(broken)
            marks[lane] = mark
            if batch is not None:
                yield {"lane": lane, "marks": list(map(list, marks))}, batch

    def close(self) -> None:
        """Do nothing: the workers of an epoch end with it."""


@dataclass(frozen=True)
class _LaneViews(IterableDataset[Any]):
    """The batches of a stream, lane by lane in turns, for the loader's workers.

    Without lanes (0) a batch is of all items, and worker and process take their share.
    """

    data: Streamed
    trainee: Trainee
    size: int
    run: Run
    epoch: int
    last: Any
    view: Callable[[Trainee, Row, Run, int], Mapping[str, Any]]

    @cached_property
    def lanes(self) -> int:
        """Lanes of a process; 0: the stream is not split."""
        if self.data.weights is not None:
            return self.data.lanes
        shards = len(self.data.stream.shards) if isinstance(self.data.stream, _Parted) else 0
        lanes = min(self.data.lanes, shards // self.run.world.size)
        return lanes if lanes > 1 else 0

    @property
    def marks(self) -> list[Mark]:
        """Where each lane stands."""
        if self.last is None:
            return [START] * max(1, self.lanes)
        return [(int(a), int(b), int(c)) for a, b, c in self.last["marks"]]

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._in_turns() if self.lanes else self._shares()
        except DiptychError as error:
            yield error

    def _in_turns(self) -> Iterator[Any]:
        """Yield (lane, mark, batch or None at its end, errors) of the lanes of this worker."""
        mine, workers = _worker()
        first = 0 if self.last is None else self.last["lane"] + 1
        numbers = [(first + mine + i * workers) % self.lanes for i in range(self.lanes // workers)]
        marks, share = self.marks, self.size // self.run.world.size
        items = {k: self._lane(k, marks[k]) for k in numbers if marks[k] != ENDED}
        while items:
            for k in numbers:
                if k not in items:
                    yield k, ENDED, None, []
                    continue
                views: list[Any] = []
                broken: list[SkippedRow] = []
                for mark, position, item in items[k]:
                    view = self._view(f"{position}{self._draw(k, mark[0])}", position, item, broken)
                    views += [] if view is None else [view]
                    if len(views) == share:
                        yield k, mark, self.trainee.collate(views), broken
                        break
                else:
                    del items[k]
                    yield k, ENDED, None, broken

    def _shares(self) -> Iterator[Any]:
        """Yield the same of a stream that is not split: every worker reads all items, and decodes its own."""
        mine, workers = _worker()
        each = self.size // self.run.world.size
        share = slice(self.run.world.rank * each, (self.run.world.rank + 1) * each)
        items, number = self._lane(0, self.marks[0]), 0
        while len(batch := list(islice(items, self.size))) == self.size:
            if number % workers == mine:
                broken: list[SkippedRow] = []
                views = [self._view(str(position), position, item, broken) for _, position, item in batch[share]]
                good = [v for v in views if v is not None]
                if good:  # a copy takes the place of what cannot be read, so that all processes have as many
                    whole = [good[i % len(good)] if v is None else v for i, v in enumerate(views)]
                    yield 0, batch[-1][0], self.trainee.collate(whole), broken
            number += 1

    def _view(self, key: str, position: int, item: Any, broken: list[SkippedRow]) -> Mapping[str, Any] | None:
        try:
            if isinstance(item, UnreadableItem):
                raise item
            return self.view(self.trainee, _row(key, position, item), self.run, self.epoch)
        except UnreadableItem as error:
            if not self.data.skip:
                raise
            broken.append(error.as_dict())
            return None

    def _lane(self, lane: int, mark: Mark) -> Iterator[tuple[Mark, int, Any]]:
        """Yield (place after it, position, item) of a lane, after a place in it."""
        pieces = self._pieces(lane)
        block = max(1, self.data.shuffle // max(1, self.lanes))
        number, begin, used = mark
        for piece in range(number, len(pieces)):
            stream = pieces[piece] if piece > number or begin < 0 else pieces[piece].seek(begin)
            items = self._items(stream)
            while some := list(islice(items, block)):
                order = self._order(f"block/{some[0][0]}{self._draw(lane, piece)}", len(some))
                for i in range(used, len(some)):
                    position, item = some[order[i]]
                    yield (piece, some[0][0], i + 1), position, item
                used = 0

    def _pieces(self, lane: int) -> Sequence[Stream[Any]]:
        if not self.lanes:
            return [self.data.stream]
        assert isinstance(self.data.stream, _Parted)
        shards = self.data.stream.parts(len(self.data.stream.shards))
        every = self.lanes * self.run.world.size
        if self.data.weights is not None:
            chances = np.asarray(self.data.weights) / sum(self.data.weights)
            draw = np.random.default_rng(self.run.integer(f"draw/{self.epoch}/{self.run.world.rank}/{lane}"))
            return [shards[i] for i in draw.choice(len(shards), max(1, len(shards) // every), p=chances)]
        order = self._order("shards", len(shards))
        return [shards[i] for i in order[self.run.world.rank * self.lanes + lane :: every]]

    def _draw(self, lane: int, piece: int) -> str:
        """Return what tells apart two times that a shard is drawn in an epoch; "" where it is read once."""
        return "" if self.data.weights is None else f"/{self.run.world.rank}/{lane}/{piece}"

    def _order(self, what: str, count: int) -> Sequence[int]:
        if self.data.shuffle == 1 or count == 1:
            return range(count)
        order: list[int] = np.random.default_rng(self.run.integer(f"{what}/{self.epoch}")).permutation(count).tolist()
        return order

    def _items(self, stream: Stream[Any]) -> Iterator[tuple[int, Any]]:
        tried = stream.outcomes() if self.data.skip and isinstance(stream, _Outcomes) else iter(stream)
        return ((position, item) for position, item in tried if position not in self.data.without)


def _worker() -> tuple[int, int]:
    """Return (number, count) of the loader's workers; (0, 1) in the training process."""
    worker = get_worker_info()
    return (worker.id, worker.num_workers) if worker else (0, 1)


def _row(key: str, position: int, item: Any) -> Row:
    if hasattr(item, "image") and hasattr(item, "text"):
        return Row(item.image(), position, key, getattr(item, "columns", None) or {"captions": (item.text(),)})
    return Row(item, position, key)
