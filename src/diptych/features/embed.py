"""Embedding of samples through the store: each content key once, decoded ahead of encoding.

Torch is imported only where it encodes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from diptych.core import (
    DamagedStore,
    DataError,
    Encoder,
    Run,
    Runner,
    Samples,
    Subset,
    Table,
    UnreadableItem,
    UsageError,
)
from diptych.core.run import silent
from diptych.core.wording import none_readable
from diptych.features.pipeline import Source, StageTimes, cores, encode, refuse_not_finite
from diptych.store.layers import Vectors, open_vectors

if TYPE_CHECKING:
    from torch import Tensor

    from diptych.data.views import ViewRecipe

S = TypeVar("S")
_ROUNDS = 3  # a batch may be damaged between writing and reading; three times in a row means a broken disk
_BATCH = 32  # the default
SPAN = 65_536
"""Items whose keys ``embed_slices`` holds at a time, and whose batches are planned together."""


class _Read:
    """What could be read of some items, and what could not."""

    kept: NDArray[np.int64]
    failed: tuple[UnreadableItem, ...]

    def some(self, what: str) -> Self:
        """Return this; ``what`` the items are called where none can be read.

        Raises:
            DataError: none can be read.
        """
        if len(self.kept):
            return self
        raise DataError(none_readable(len(self.failed), what, self.failed))

    def of(self, items: Samples[S]) -> Subset[S]:
        """Return those of the items that could be read."""
        return Subset(items, tuple(self.kept.tolist()))

    def rows(self, table: Table[S]) -> tuple[Table[S], tuple[UnreadableItem, ...]]:
        """Return the rows of the items that could be read, and why others could not."""
        return (table.take(self.kept.tolist()) if self.failed else table), self.failed


@dataclass(frozen=True)
class Embeddings(_Read):
    """Embeddings of the readable items.

    Args:
        values: (M, D) float32, or (M, A, D) with A views; not normalised.
        kept: (M,) int64 positions of those items, ascending.
        failed: one error for each item that could not be read, in order.
    """

    values: Tensor
    kept: NDArray[np.int64]
    failed: tuple[UnreadableItem, ...]


@dataclass(frozen=True)
class Arrays(_Read):
    """``Embeddings`` without torch.

    Args:
        values: (M, A, D) float32, A = 1 without views; not normalised.
        kept: (M,) int64 positions of the readable items, ascending.
        failed: one error for each item that could not be read, in order.
        times: durations of decoding and encoding.
    """

    values: NDArray[np.float32]
    kept: NDArray[np.int64]
    failed: tuple[UnreadableItem, ...]
    times: StageTimes = field(default_factory=StageTimes, compare=False)


def embed(
    encoder: Encoder[Any],
    items: Samples[Any],
    run: Run,
    *,
    views: ViewRecipe | None = None,
    vectors: Vectors | None = None,
) -> Tensor:
    """Embed all items.

    Args:
        encoder: encoder of any modality.
        items: N samples; samples with equal keys are encoded once.
        run: batch size and threads (0: automatic), precision, device, engine and cache folders. A cache folder that is
            read-only is used for reading.
        views: A random crops of each image instead of the image itself.
        vectors: where they are stored, for many calls in a row (``shared_vectors``); None: what the run says.

    Returns:
        (N, D) float32, not normalised; (N, A, D) with views. On the CPU.

    Raises:
        UnreadableItem: an item cannot be read; all others are stored before it is raised.
        UsageError: views of a modality without pixels, an unknown precision or decode, or a batch below 0.
        DamagedStore: vectors cannot be read back from the cache after several attempts.
        NotFinite: a vector is not finite, see ``pipeline.refuse_not_finite``.
    """
    result = embed_readable(encoder, items, run, views=views, vectors=vectors)
    if result.failed:
        raise result.failed[0]
    return result.values


def embed_readable(
    encoder: Encoder[Any],
    items: Samples[Any],
    run: Run,
    *,
    views: ViewRecipe | None = None,
    vectors: Vectors | None = None,
) -> Embeddings:
    """Embed the readable items, and return the errors of the others.

    Arguments and errors are those of ``embed``, except UnreadableItem.

    ``run.tally`` counts vectors "cached" and "encoded", and items "decoded" and "failed". Its "text_us" is microseconds
    for texts.
    """
    import torch

    result = embed_arrays(encoder, items, run, views=views, vectors=vectors)
    out = torch.from_numpy(result.values)
    return Embeddings(out if views else out[:, 0], result.kept, result.failed)


def embed_arrays(
    encoder: Encoder[Any],
    items: Samples[Any],
    run: Run,
    *,
    views: ViewRecipe | None = None,
    vectors: Vectors | None = None,
) -> Arrays:
    """Embed as ``embed_readable``, without importing torch where another runtime encodes."""
    start = time.perf_counter()
    work = _Work(encoder, items, run, views, vectors)
    numbers = range(len(work.keys))
    values = work.values(numbers)
    if encoder.modality == "text":
        run.tally["text_us"] += round(1e6 * (time.perf_counter() - start))
    return work.arrays(range(len(items)), numbers, values)


def embed_slices(
    encoder: Encoder[Any],
    items: Samples[Any],
    run: Run,
    *,
    size: int = 4096,
    spans: Iterable[Samples[Any]] | None = None,
    vectors: Vectors | None = None,
) -> Iterator[Arrays]:
    """Embed as ``embed_arrays`` and yield ``size`` items at a time; ``kept`` are positions in ``items``.

    Items are planned, encoded and stored ``SPAN`` at a time, and then read back, so that memory has their keys and the
    vectors of one slice. Without a writable cache folder it has all vectors.

    Args:
        encoder: encoder of any modality.
        items: N samples.
        run: as of ``embed``.
        size: items of a slice, a divisor of SPAN.
        spans: the items in order, ``SPAN`` at a time, where somebody else encodes them; what is not stored yet, is
            encoded here.
        vectors: where they are stored; None: what the run says.
    """
    vectors, start = vectors or open_vectors(run), 0
    track = run.track if spans is None and len(items) > SPAN else silent
    with track(f"{encoder.modality} items", len(items)) as bar:
        for part in cut(items) if spans is None else spans:
            work = _Work(encoder, part, run, None, vectors)
            work.fill()
            for first in range(0, len(part), size):
                rows = range(first, min(first + size, len(part)))
                numbers = sorted({work.number[i] for i in rows if i in work.number})
                arrays = work.arrays(rows, numbers, work.values(numbers))
                yield replace(arrays, kept=arrays.kept + start)
            start += len(part)
            bar.advance(len(part))


def cut(items: Samples[S]) -> Iterator[Samples[S]]:
    """Yield items in order, ``SPAN`` at a time."""
    if len(items) <= SPAN:
        yield items
        return
    for start in range(0, len(items), SPAN):
        yield Subset(items, tuple(range(start, min(start + SPAN, len(items)))))


class _Work:
    """State of one call: keys of the items, the store of their vectors, and the source and encoder of missing ones."""

    def __init__(
        self,
        encoder: Encoder[Any],
        items: Samples[Any],
        run: Run,
        views: ViewRecipe | None,
        vectors: Vectors | None = None,
    ) -> None:
        _check(encoder, run, views)
        self.run = replace(run, batch=run.batch or _BATCH, workers=run.workers or cores())
        self._items = items
        self._first, self._failed, self.number = _keys(items)
        self.keys = list(self._first)
        self._runner = run.engine.runner(encoder, run) if run.engine and self.keys else None
        if run.precision == "int8" and self._runner is None and self.keys:
            raise UsageError(
                "int8 runs on the CPU through an engine: give {device} cpu and {engine} auto, or {precision} fast."
            )
        self._vectors = vectors or open_vectors(run)
        draws = range(views.draws if views else 1)
        self._spaces = [self._vectors.space(space_facts(encoder, run, self._runner, views, draw)) for draw in draws]
        self._source = Source(encoder, items, self._first, views, _drafted(encoder, run, views))
        self._dim = encoder.dim
        self._counted = False

    def fill(self) -> None:
        """Encode and store all missing vectors, without reading them back."""
        stored = np.stack([self._vectors.known(space, self.keys) for space in self._spaces], axis=1)
        self._encode(range(len(self.keys)), stored)

    def values(self, numbers: Sequence[int]) -> NDArray[np.float32]:
        """Return (n, A, D) vectors of keys, encoded where they are missing; zero where they cannot be read."""
        values = np.zeros((len(numbers), len(self._spaces), self._dim), dtype=np.float32)
        stored = np.zeros(values.shape[:2], dtype=bool)
        for _ in range(_ROUNDS + 1):
            for draw, space in enumerate(self._spaces):
                todo = [
                    i
                    for i in np.flatnonzero(~stored[:, draw]).tolist()
                    if self.keys[numbers[i]] not in self._source.broken
                ]
                values[todo, draw], stored[todo, draw] = self._vectors.get(space, [self.keys[numbers[i]] for i in todo])
            if not self._encode(numbers, stored):  # what an earlier version stored was not looked at
                refuse_not_finite(
                    values, self._source.encoder, partial(self._source.name, [self.keys[i] for i in numbers])
                )
                return values
        raise DamagedStore(
            f"Vectors cannot be read back from the embedding cache {self.run.cache}: check the disk, or name another "
            f"cache folder."
        )

    def _encode(self, numbers: Sequence[int], stored: NDArray[np.bool_]) -> bool:
        """Encode the readable vectors that are not ``stored``, (n, A) bool; return False where there are none."""
        if not self._counted:  # before this call stores any
            self.run.tally["cached"] += int(stored.sum())
            self._counted = True
        failures, broken = self._vectors.failures(self._spaces[0]), self._source.broken
        keys = [self.keys[i] for i in numbers]
        unstored = [keys[i] for i in np.flatnonzero(~stored.all(axis=1)).tolist()]
        self._source.try_again([k for k in unstored if k in failures and k not in broken])
        missing = [
            [keys[i] for i in np.flatnonzero(~stored[:, d]).tolist() if keys[i] not in broken]
            for d in range(len(self._spaces))
        ]
        if not any(missing):
            return False
        plans = [
            self._vectors.plan(s, m, size=self.run.batch, within=self._first)
            for s, m in zip(self._spaces, missing, strict=True)
        ]
        encode(self._source, plans, self._spaces, self._vectors, self.run, self._runner)
        return True

    def arrays(self, rows: range, numbers: Sequence[int], values: NDArray[np.float32]) -> Arrays:
        """Return the vectors of the readable items among ``rows``, from the (n, A, D) vectors of their keys."""
        broken, failed = self._source.broken, {i: self._failed[i] for i in rows if i in self._failed}
        for i in rows:
            if i in self.number and (key := self.keys[self.number[i]]) in broken:
                failed[i] = UnreadableItem(self._items.name(i), broken[key].reason)
        self.run.tally["failed"] += len(failed)
        kept = np.asarray([i for i in rows if i not in failed], dtype=np.int64)
        order = np.searchsorted(np.asarray(numbers, dtype=np.int64), [self.number[int(i)] for i in kept])
        whole = len(order) == len(values) and bool((order == np.arange(len(order))).all())
        return Arrays(
            values if whole else values[order], kept, tuple(failed[i] for i in sorted(failed)), self._source.times
        )


def _check(encoder: Encoder[Any], run: Run, views: ViewRecipe | None) -> None:
    if views and encoder.size is None:
        raise UsageError(f"The {encoder.modality} encoder has no pixels, so it has no views: leave views out.")
    if run.precision not in ("fp32", "bf16", "int8"):
        raise UsageError(f"Precision {run.precision!r} is unknown: use 'fp32', 'bf16' or 'int8'.")
    if run.decode not in ("exact", "draft"):
        raise UsageError(f"The decode {run.decode!r} is unknown: use 'exact' or 'draft'.")
    if run.batch < 0 or run.workers < 0:
        raise UsageError(
            f"batch and workers must be at least 1, or 0 for automatic, got {run.batch} and {run.workers}."
        )


def _keys(items: Samples[Any]) -> tuple[dict[str, int], dict[int, UnreadableItem], dict[int, int]]:
    """Return key -> first position, position -> error of items without key, position -> number of its key."""
    first: dict[str, int] = {}
    number: dict[str, int] = {}
    failed, numbers = {}, {}
    for i in range(len(items)):
        try:
            key = items.key(i)
        except UnreadableItem as error:
            failed[i] = error
            continue
        first.setdefault(key, i)
        numbers[i] = number.setdefault(key, len(number))
    return first, failed, numbers


def space_facts(
    encoder: Encoder[Any], run: Run, runner: Runner | None = None, views: ViewRecipe | None = None, draw: int = 0
) -> dict[str, Any]:
    """Return all that determines a vector besides the item; its hash is the space of the store.

    A runner has facts of its own, since other runtimes round differently from torch.
    """
    return {
        "encoder": encoder.fingerprint,
        "modality": encoder.modality,
        "dim": encoder.dim,
        "precision": runner.precision if runner else run.precision,
        "views": views.name if views else None,
        "draw": draw,
        **({"decode": "draft"} if _drafted(encoder, run, views) else {}),
        **(runner.facts if runner else {}),
    }


def _drafted(encoder: Encoder[Any], run: Run, views: ViewRecipe | None) -> bool:
    """Return whether drafts are decoded: not for texts, nor for views, which are small crops of a picture."""
    return run.decode == "draft" and encoder.size is not None and views is None
