"""The vectors of a pool, some items at a time: what the cache has is read in one look, and the rest is encoded.

Most passes over a pool find all vectors in the cache. They then neither open the space of the encoder anew for each
chunk nor plan a batch, and the chunks are large (``features.pool_chunks``).
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from diptych.core import Encoder, Run, Samples, Texts, UnreadableItem
from diptych.data.memory import InMemory
from diptych.features.embed import Arrays, embed_arrays, space_facts
from diptych.store.layers import Vectors, shared_vectors

MARKED = 60.0
"""Seconds after which a space is marked again as in use, so that ``cache prune`` leaves it alone."""


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

    def arrays(self, encoder: Encoder[Any], items: Samples[Any], run: Run | None = None) -> Arrays:
        """Embed the readable items of a chunk; errors and counts are those of ``features.embed_arrays``.

        Args:
            encoder: of the items.
            items: of a chunk.
            run: with other settings for this encoder, and the same folders; None: that of the pool.
        """
        run = run or self._run
        if self._stored is None:
            return embed_arrays(encoder, items, run)
        start = time.perf_counter()
        readable, keys, failed = _keys(items)
        if not keys:
            return embed_arrays(encoder, items, run, vectors=self._stored)
        values, known = self._stored.get(self._space(self._stored, encoder, run), keys)
        if known.all():
            run.tally["cached"] += len({*keys})
            if encoder.modality == "text":
                run.tally["text_us"] += round(1e6 * (time.perf_counter() - start))
            result = Arrays(values[:, None], np.arange(len(keys)), ())
        else:
            result = embed_arrays(encoder, _Keyed(items, readable, keys), run, vectors=self._stored)
        run.tally["failed"] += len(failed)
        return _with(result, readable, failed) if failed else result

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


class OnceKeyed:
    """Samples whose keys are asked for once: of a picture the key is the hash of its bytes.

    Args:
        items: N samples.
    """

    def __init__(self, items: Samples[Any]) -> None:
        self._items = items
        rows, keys, self._failed = _keys(items)
        self._keys = dict(zip(rows, keys, strict=True))

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int, /) -> Any:
        return self._items[index]

    def key(self, index: int, /) -> str:
        """Return the content key; raises UnreadableItem where there is none."""
        if index in self._failed:
            raise self._failed[index]
        return self._keys[index]

    def name(self, index: int, /) -> str:
        """Return the name for users."""
        return self._items.name(index)


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
