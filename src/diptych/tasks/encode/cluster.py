"""Encoding by many workers: the driver plans batches in the store as one process would, workers encode them, the store
holds the result.

So a key has the bits of the batch that was planned, whoever encodes it; a worker that dies costs the batch that it was
at; and a driver that dies goes on where the store is. The driver holds the keys of a few spans of items at a time, and
asks the store which of them are done. Workers must see the folders that the driver sees, under the same paths: data,
cache, local weights.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych.backbones.engines.engine import Engines, kind_of
from diptych.core import Backbone, DiptychError, Encoder, Run, Runner, Samples, Subset, UnreadableItem, UsageError
from diptych.core.run import silent
from diptych.data.formats.encoded import EncodedImages
from diptych.data.joined import Joined
from diptych.features.embed import SPAN, space_facts
from diptych.features.pipeline import Source, encode
from diptych.store.layers import Vectors, open_vectors
from diptych.store.plans import Batch
from diptych.tasks.cluster import Home, Pool, Shared, each, portable

BATCH = 32
"""Items of a batch where nobody chose: what is fastest on one machine is not asked, so that a second run plans the same
batches.
"""
KEYS = 2048
"""Items whose keys one piece of work hashes."""
PIECE = 8
"""Batches a piece of work: what a worker that dies must look at again; what of them it finished is kept."""
AHEAD = 8
"""Spans under way: those behind one that a slow worker is at."""


@dataclass(frozen=True)
class Crew:
    """Workers, and what each of them loads.

    Args:
        pool: where they are.
        load: returns the backbone, whose fingerprint must be the driver's.
        threads: of each, for decoding.
    """

    pool: Pool
    load: Callable[[], Backbone]
    threads: int = 1


def encode_ahead(crew: Crew, encoder: Encoder[Any], items: Samples[Any], run: Run) -> None:
    """Bring the vectors of all items that can be read into the run's store, by workers; see ``fill`` for the errors."""
    run = replace(run, batch=run.batch or BATCH, workers=run.workers or crew.threads)
    runner = run.engine.runner(encoder, run) if run.engine else None
    for _ in fill(crew, encoder, items, run, runner, open_vectors(run)):
        pass


@dataclass(frozen=True)
class Keyed:
    """Samples whose keys are known.

    Args:
        keys: (N,) keys, or why there is none.
    """

    samples: Samples[Any]
    keys: Sequence[str | UnreadableItem]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int, /) -> Any:
        return self.samples[index]

    def key(self, index: int, /) -> str:
        """Return the key; raises UnreadableItem where the item has none."""
        key = self.keys[index]
        if isinstance(key, UnreadableItem):
            raise key
        return key

    def name(self, index: int, /) -> str:
        """Return the item's own name."""
        return self.samples.name(index)


@dataclass(frozen=True)
class Order:
    """What every worker must know.

    Args:
        run: without engine and progress.
        engines: folder of exports and kind of the engine; None: torch.
        space: of the store; a worker that would write into another one has other weights or another engine.
    """

    load: Callable[[], Backbone]
    modality: str
    items: Samples[Any]
    run: Run
    engines: tuple[Path, str] | None
    space: str
    home: Home

    @cached_property
    def opened(self) -> tuple[Encoder[Any], Runner | None, Vectors, bool]:
        """Return encoder, engine, store, and whether drafts are decoded.

        Raises:
            DiptychError: the worker's vectors would be others.
        """
        host = self.home.settle()
        encoder = self.load().encoders[self.modality]
        runner = None
        if self.engines:
            engine = Engines(*self.engines)
            engine.serve(encoder)
            runner = engine.runner(encoder, self.run)
        facts, vectors = space_facts(encoder, self.run, runner), open_vectors(self.run)
        if vectors.space(facts) != self.space:
            raise DiptychError(
                f"The worker on {host} would make other vectors ({facts.get('engine', 'torch')}, "
                f"{facts['precision']}): give it the same"
                " weights and versions, or use {engine} torch."
            )
        return encoder, runner, vectors, "decode" in facts


@dataclass
class _Span:
    """Items that are planned together.

    Args:
        items: with their keys.
        pieces: what is still to be handed out.
        under_way: keys that workers were given or will be.
        pending: pieces that are not finished.
    """

    items: Keyed
    pieces: deque[Sequence[tuple[Batch, Sequence[int]]]]
    under_way: frozenset[str]
    pending: int = field(init=False)

    def __post_init__(self) -> None:
        self.pending = len(self.pieces)


def fill(
    crew: Crew, encoder: Encoder[Any], items: Samples[Any], run: Run, runner: Runner | None, vectors: Vectors
) -> Iterator[Samples[Any]]:
    """Encode all that the run's store lacks, in the batches that one process would make.

    Args:
        crew: who encodes.
        encoder: the driver's.
        items: N samples.
        run: as for ``embed``; its cache folder is where workers and driver meet.
        runner: what runs the encoder on the driver; None: torch.
        vectors: the run's store.

    Yields:
        The items in order, ``SPAN`` at a time, with their keys, as soon as they are done: for ``embed_slices``, which
        encodes what workers could not read, and names it.

    Raises:
        UsageError: there is no cache folder that can be written, or workers do not see it or the data.
        DiptychError: workers have other versions or weights, or keep dying.
    """
    if run.cache is None or (run.cache.is_dir() and not os.access(run.cache, os.W_OK)):
        raise UsageError("Workers meet in the cache folder: give one that this machine and all of them can write.")
    facts = space_facts(encoder, run, runner)
    space = vectors.space(facts)
    kind = kind_of(str(runner.facts.get("engine", "torch")).split()[0]) if runner else "torch"
    engines = (run.engine.folder.absolute(), kind) if runner and isinstance(run.engine, Engines) else None
    alone = replace(
        run, engine=None, progress=silent, tally=Counter(), precision=facts["precision"],
        cache=run.cache.absolute(), shared_cache=run.shared_cache and run.shared_cache.absolute(),
    )  # fmt: skip
    order = crew.pool.share(Order(crew.load, encoder.modality, portable(items), alone, engines, space, Home.here()))
    spans = deque[_Span]()
    starts = iter(range(0, len(items), SPAN))
    working: dict[Future[Counter[str]], tuple[_Span, Sequence[Batch]]] = {}
    seen = more = True
    with run.track(f"encode {encoder.modality} by {crew.pool.size} workers", len(items)) as bar:
        while more or spans:
            for span in spans:
                while span.pieces and len(working) < 2 * crew.pool.size:
                    piece = span.pieces.popleft()
                    working[crew.pool.submit(encode_piece, order, piece)] = span, [batch for batch, _ in piece]
            while spans and not spans[0].pending:
                yield spans.popleft().items
            if more and len(working) < 2 * crew.pool.size and len(spans) < AHEAD:
                start = next(starts, None)
                more = start is not None
                if start is not None:
                    span = _planned(crew.pool, order, items, start, run, vectors, space, spans)
                    spans.append(span)
                    bar.advance(len(span.items) - len(span.under_way))
                continue
            for future in wait(working, return_when=FIRST_COMPLETED).done:
                span, batches = working.pop(future)
                run.tally.update(future.result())
                if seen and not all(vectors.finished(space, batch) for batch in batches):
                    raise UsageError(
                        f"Files written by workers are not in {run.cache}: name a {{cache}} folder that all machines "
                        "share."
                    )
                seen = False
                span.pending -= 1
                bar.advance(sum(len(batch.keys) for batch in batches))


def _planned(
    pool: Pool,
    order: Shared[Order],
    items: Samples[Any],
    start: int,
    run: Run,
    vectors: Vectors,
    space: str,
    earlier: Sequence[_Span],
) -> _Span:
    """Plan what of some items is neither stored, nor known to be broken, nor under way with earlier ones."""
    stop = min(start + SPAN, len(items))
    keyed = Keyed(Subset(items, tuple(range(start, stop))), _keys(pool, order, items, start, stop))
    first: dict[str, int] = {}
    for i, key in enumerate(keyed.keys, start):
        if isinstance(key, str):
            first.setdefault(key, i)
    failed = vectors.failures(space)
    missing = [
        key
        for key, known in zip(first, vectors.known(space, list(first)), strict=True)
        if not known and key not in failed and not any(key in span.under_way for span in earlier)
    ]
    batches = vectors.plan(space, missing, size=run.batch, within=first) if missing else []
    pairs = [(batch, [first[key] for key in batch.keys]) for batch in batches]
    pieces = deque[Sequence[tuple[Batch, Sequence[int]]]](pairs[i : i + PIECE] for i in range(0, len(pairs), PIECE))
    return _Span(keyed, pieces, frozenset(key for batch in batches for key in batch.keys))


def encode_piece(order: Shared[Order], batches: Sequence[tuple[Batch, Sequence[int]]]) -> Counter[str]:
    """Encode planned batches, given with their items' positions, into the store of a worker. Return what was done."""
    job = order.value()
    encoder, runner, vectors, drafted = job.opened
    run = replace(job.run, tally=Counter())
    first = {key: place for batch, places in batches for key, place in zip(batch.keys, places, strict=True)}
    source = Source(encoder, job.items, first, None, drafted)
    encode(source, [[batch for batch, _ in batches]], [job.space], vectors, run, runner)
    return run.tally


def hash_items(order: Shared[Order], start: int, stop: int) -> list[str | UnreadableItem]:
    """Return the keys of some items, or why they have none; on a worker."""
    job = order.value()
    job.home.settle()
    return list(_hashed(job.items, start, stop))


def _hashed(items: Samples[Any], start: int, stop: int) -> Iterator[str | UnreadableItem]:
    for i in range(start, stop):
        try:
            yield items.key(i)
        except UnreadableItem as error:
            yield error


def _keys(
    pool: Pool, order: Shared[Order], items: Samples[Any], start: int, stop: int
) -> Sequence[str | UnreadableItem]:
    """Return the keys of some items: by the workers where all bytes must be read, here where they are remembered."""
    parts = items.parts if isinstance(items, Joined) else (items,)
    if not all(isinstance(part, EncodedImages) for part in parts):
        return list(_hashed(items, start, stop))
    keys: list[str | UnreadableItem] = [""] * (stop - start)
    ranges = [(first, min(first + KEYS, stop)) for first in range(start, stop, KEYS)]
    for number, hashed in each(pool, hash_items, ((order, *each_range) for each_range in ranges)):
        first, last = ranges[number]
        keys[first - start : last - start] = hashed
    return keys
