"""The vectors of a pool, a block at a time: what the cache has is read in one look, and the rest is encoded.

Most passes over a pool find all vectors in the cache. They then neither open the space of the encoder anew for each
block nor plan a batch. Where it is known what a block holds without reading it (``core.blocks.Block.source``), the
cache notes where its vectors lie, and a later pass reads them in that order: it opens no picture and makes no key.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import Encoder, Run, Samples, Stream, Subset, Texts, UnreadableItem
from diptych.core.blocks import Block, blocks
from diptych.data.memory import InMemory
from diptych.features.embed import Arrays, embed_arrays, space_facts
from diptych.store.layers import Vectors, shared_vectors
from diptych.store.places import Numbers

MARKED = 60.0
"""Seconds after which a space is marked again as in use, so that ``cache prune`` leaves it alone."""

TOGETHER = 32
"""Blocks whose numbers are noted in one file."""


def with_pictures(stream: Stream[Any], system: str) -> Iterator[Block]:
    """Yield the blocks of a stream of pairs that have pictures.

    Raises:
        UsageError: the stream is of texts alone.
    """
    for block in blocks(stream):
        block.check_pictures(
            f"{system} looks at pictures, and this pool has texts alone: give articles, tables or tars."
        )
        yield block


class PoolVectors:
    """Vectors of the items of a pool, for one pass over it.

    Args:
        run: as for ``embed``.

    Raises:
        UsageError, DiptychError: as ``store.layers.open_vectors``.
    """

    def __init__(self, run: Run) -> None:
        self._run, self._stored = run, shared_vectors(run)
        self._spaces: dict[tuple[tuple[str, Any], ...], tuple[str, float]] = {}
        self._noted: Mapping[str, Numbers] = {}
        self._waiting: dict[str, Numbers] = {}

    def arrays(
        self, encoder: Encoder[Any], items: Samples[Any], run: Run | None = None, *, source: str | None = None
    ) -> Arrays:
        """Embed the readable items of a block; errors and counts are those of ``features.embed_arrays``.

        Args:
            encoder: of the items.
            items: of a block.
            run: with other settings for this encoder, and the same folders; None: that of the pool.
            source: what the items are, where that is known without reading them; None: that of ``Pictures``.
        """
        run = run or self._run
        if self._stored is None:
            return embed_arrays(encoder, items, run)
        source = (items.source if isinstance(items, Pictures) else "") if source is None else source
        if (placed := self.placed(encoder, source, run)) is not None:
            return placed
        start = time.perf_counter()
        readable, keys, failed = _keys(items)
        if not keys:
            return embed_arrays(encoder, items, run, vectors=self._stored)
        space = self._space(self._stored, encoder, run)
        values, known = self._stored.get(space, keys)
        if known.all():
            result = self._cached(encoder, values, len({*keys}), run, start)
        else:
            result = embed_arrays(encoder, _Keyed(items, readable, keys), run, vectors=self._stored)
        if source and not failed and not result.failed:
            self._stored.place(space, source, keys)
        run.tally["failed"] += len(failed)
        return _with(result, readable, failed) if failed else result

    def rows(
        self, encoder: Encoder[Any], pictures: Samples[Any], rows: Sequence[int], run: Run | None = None
    ) -> Arrays:
        """Embed some pictures of a block as ``arrays``; ``kept`` are positions in ``rows``."""
        if len(rows) == len(pictures):
            return self.arrays(encoder, pictures, run)
        source = pictures.source if isinstance(pictures, Pictures) else ""
        if (placed := self.placed(encoder, source, run)) is not None:
            return Arrays(placed.values[list(rows)], np.arange(len(rows)), ())
        return self.arrays(encoder, Subset(pictures, tuple(rows)), run)

    def placed(self, encoder: Encoder[Any], source: str, run: Run | None = None) -> Arrays | None:
        """Return the vectors of a block from where the cache has noted that they lie; None where it has not."""
        run, start = run or self._run, time.perf_counter()
        if self._stored is None or not source:
            return None
        placed = self._stored.placed(self._space(self._stored, encoder, run), source)
        return None if placed is None else self._cached(encoder, placed.values, placed.distinct, run, start)

    def noted(self, encoder: Encoder[Any], source: str, count: int) -> NDArray[np.float32] | None:
        """Return numbers of the N pairs of a block that the cache has noted (``note``); None where it has not."""
        if self._stored is None or not source:
            return None
        if source not in self._noted:
            self._noted = self._stored.noted(self._space(self._stored, encoder, self._run), source)
        numbers = self._noted.get(source)
        if numbers is None or len(numbers.values) != count:
            return None
        self.write_notes(encoder)
        self._run.tally["cached"] += numbers.vectors
        return numbers.values

    def note(self, encoder: Encoder[Any], source: str, numbers: NDArray[np.float32], vectors: int) -> None:
        """Note numbers of the N pairs of a block in the cache, beside the vectors of an encoder, some blocks at a time.

        Args:
            encoder: one of those whose vectors they were computed of, the same at each call.
            source: of the block, and what the numbers are.
            numbers: (N,), which the source and the vectors alone decide.
            vectors: number of these, as a later pass counts them.
        """
        if self._stored is not None and source:
            self._waiting[source] = Numbers(numbers, vectors)
            if len(self._waiting) == TOGETHER:
                self.write_notes(encoder)

    def write_notes(self, encoder: Encoder[Any]) -> None:
        """Write what ``note`` was given last: at the end of a pass, and where a block is not noted now."""
        if self._stored is not None and self._waiting:
            self._stored.note(self._space(self._stored, encoder, self._run), self._waiting)
            self._waiting = {}

    def space(self, encoder: Encoder[Any]) -> str:
        """Return the space of an encoder; "" without a cache."""
        return self._space(self._stored, encoder, self._run) if self._stored is not None else ""

    def _cached(
        self, encoder: Encoder[Any], values: NDArray[np.float32], distinct: int, run: Run, start: float
    ) -> Arrays:
        run.tally["cached"] += distinct
        if encoder.modality == "text":
            run.tally["text_us"] += round(1e6 * (time.perf_counter() - start))
        return Arrays(values[:, None], np.arange(len(values)), ())

    def _space(self, stored: Vectors, encoder: Encoder[Any], run: Run) -> str:
        """Return the space of an encoder, which is opened once a minute: that marks it as in use."""
        facts = space_facts(encoder, run, run.engine.runner(encoder, run) if run.engine else None)
        key = tuple(facts.items())
        space, opened = self._spaces.get(key, ("", -math.inf))
        if time.monotonic() - opened > MARKED:
            space = stored.space(facts)
            self._spaces[key] = space, time.monotonic()
        return space


def failures(rows: Sequence[int], kept: Iterable[int], failed: Sequence[UnreadableItem]) -> dict[int, UnreadableItem]:
    """Return row -> error of the rows that are not kept; ``failed`` are their errors in order."""
    absent = sorted({*rows}.difference(kept)) if failed else []
    return dict(zip(absent, failed, strict=True))


class Pictures:
    """The pictures of a block as samples, whose keys are asked for once: a key is the hash of a picture's bytes."""

    def __init__(self, block: Block) -> None:
        self.source = block.source and f"{block.source}\0picture"
        self._block = block

    def __len__(self) -> int:
        return len(self._block)

    def __getitem__(self, index: int, /) -> Any:
        return self._items[index]

    def key(self, index: int, /) -> str:
        """Return the content key; raises UnreadableItem where there is none."""
        keys, failed = self._keys
        if index in failed:
            raise failed[index]
        return keys[index]

    def name(self, index: int, /) -> str:
        """Return the name for users."""
        return self._block.name(index)

    @cached_property
    def _items(self) -> InMemory:
        return InMemory(self._block.items, self._block.names)

    @cached_property
    def _keys(self) -> tuple[dict[int, str], dict[int, UnreadableItem]]:
        rows, keys, failed = _keys(self._items)
        return dict(zip(rows, keys, strict=True)), failed


@dataclass(frozen=True)
class _Keyed:
    """Some of the items, whose keys are known.

    Args:
        rows: positions among the items.
        keys: of these.
    """

    items: Samples[Any]
    rows: Sequence[int]
    keys: Sequence[str]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> Any:
        return self.items[self.rows[index]]

    def key(self, index: int, /) -> str:
        return self.keys[index]

    def name(self, index: int, /) -> str:
        return self.items.name(self.rows[index])


def _keys(items: Samples[Any]) -> tuple[Sequence[int], list[str], dict[int, UnreadableItem]]:
    """Return the positions of the items that have keys, their keys, and position -> error of the others."""
    if type(items) is Texts:
        return range(len(items)), [hashlib.sha256(text.encode()).hexdigest() for text in items.values], {}
    asks: Iterable[Callable[[], str]]
    if type(items) is InMemory and not items.keys and all(callable(getattr(item, "key", None)) for item in items.items):
        asks = (item.key for item in items.items)  # not through the samples, a call less an item
    else:
        asks = (partial(items.key, i) for i in range(len(items)))
    keys, failed = list[str](), dict[int, UnreadableItem]()
    for i, ask in enumerate(asks):
        try:
            keys.append(ask())
        except UnreadableItem as error:
            failed[i] = error
    return [i for i in range(len(items)) if i not in failed] if failed else range(len(items)), keys, failed


def _with(result: Arrays, readable: Sequence[int], failed: dict[int, UnreadableItem]) -> Arrays:
    """Return the vectors of the items that have keys as those of all items.

    Args:
        result: of the items that have keys.
        readable: their positions among all.
        failed: position -> error of the others.
    """
    whole = np.array(readable, dtype=np.int64)
    rows = whole[result.kept]
    errors = failed | failures(readable, rows.tolist(), result.failed)
    return Arrays(result.values, rows, tuple(errors[i] for i in sorted(errors)), result.times)
