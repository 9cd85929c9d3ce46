"""Embedding of samples: each content key once, through the store, with decoding ahead of encoding. Torch only where torch encodes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diptych.core.backbone import Encoder
from diptych.core.data import Samples
from diptych.core.errors import DamagedStore, UnreadableItem, UsageError
from diptych.core.run import Run, Runner
from diptych.features.layers import Vectors, open_vectors
from diptych.features.plans import Batch

if TYPE_CHECKING:
    from torch import Tensor

    from diptych.data.views import ViewRecipe

_ROUNDS = 3  # the store may lose a batch to damage between writing and reading; thrice in a row is a broken disk
_AHEAD = 2  # batches decoded ahead of the one that is encoded: bounds memory


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of the items that could be read.

    Args:
        values: (M, D) float32, or (M, A, D) with A views; not normalised.
        kept: (M,) int64 positions of those items, ascending.
        failed: one error for each item that could not be read, in order.
    """

    values: Tensor
    kept: NDArray[np.int64]
    failed: tuple[UnreadableItem, ...]


@dataclass(frozen=True)
class Arrays:
    """``Embeddings`` without torch: ``values`` is (M, A, D) float32, A = 1 without views."""

    values: NDArray[np.float32]
    kept: NDArray[np.int64]
    failed: tuple[UnreadableItem, ...]


def embed(encoder: Encoder[Any], items: Samples[Any], run: Run, *, views: ViewRecipe | None = None) -> Tensor:
    """Embed all items.

    Args:
        encoder: of any modality.
        items: N samples; those of equal key are encoded once.
        run: batch size, threads, precision, device, engine and cache folders; a cache folder that may not be written is only
            read.
        views: A random crops of each image instead of the image itself.

    Returns:
        (N, D) float32, not normalised; (N, A, D) with views. On the CPU.

    Raises:
        UnreadableItem: an item cannot be read; all others are in the store by then.
        UsageError: views of a modality without pixels, an unknown precision, or a batch below 1.
        DamagedStore: the cache keeps losing what was written.
    """
    result = embed_readable(encoder, items, run, views=views)
    if result.failed:
        raise result.failed[0]
    return result.values


def embed_readable(encoder: Encoder[Any], items: Samples[Any], run: Run, *, views: ViewRecipe | None = None) -> Embeddings:
    """Embed the items that can be read, and name the others. Arguments and errors (but UnreadableItem) as ``embed``.

    ``run.tally`` counts vectors "cached" and "encoded", and items "decoded" and "failed".
    """
    import torch

    found = embed_arrays(encoder, items, run, views=views)
    out = torch.from_numpy(found.values)
    return Embeddings(out if views else out[:, 0], found.kept, found.failed)


def embed_arrays(encoder: Encoder[Any], items: Samples[Any], run: Run, *, views: ViewRecipe | None = None) -> Arrays:
    """Embed as ``embed_readable`` does; where a runtime other than torch encodes arrays, torch is not imported."""
    _check(encoder, run, views)
    first, failed, place = _keys(items)
    runner = run.engine.runner(encoder, run) if run.engine and len(first) else None
    if run.precision == "int8" and runner is None and len(first):
        raise UsageError("int8 runs on the CPU through an engine: use --device cpu --engine auto, or --precision fast.")
    keys = list(first)
    draws = range(views.draws) if views else range(1)
    vectors = open_vectors(run)
    spaces = [vectors.space(space_facts(encoder, run, runner, views, draw)) for draw in draws]
    values = np.zeros((len(keys), len(spaces), encoder.dim), dtype=np.float32)
    found = np.zeros((len(keys), len(spaces)), dtype=bool)
    source = _Source(encoder, items, first, views)
    for attempt in range(_ROUNDS + 1):
        for draw, space in enumerate(spaces):
            todo = [i for i in np.flatnonzero(~found[:, draw]) if keys[i] not in source.broken]
            values[todo, draw], found[todo, draw] = vectors.get(space, [keys[i] for i in todo])
        if attempt == 0:
            run.tally["cached"] += int(found.sum())
        known = vectors.failures(spaces[0])
        source.try_again([k for i, k in enumerate(keys) if not found[i].all() and k in known])
        missing = [[k for i, k in enumerate(keys) if not found[i, d] and k not in source.broken] for d in draws]
        if not any(missing):
            break
        if attempt == _ROUNDS:
            raise DamagedStore(
                f"The embedding cache {run.cache} loses what is written to it: check the disk, or name another cache folder."
            )
        plans = [vectors.plan(s, m, size=run.batch, within=first) for s, m in zip(spaces, missing, strict=True)]
        _encode(source, plans, spaces, vectors, run, runner)
    failed |= {i: UnreadableItem(items.name(i), source.broken[keys[p]].reason) for i, p in place.items() if keys[p] in source.broken}
    run.tally["failed"] += len(failed)
    kept = np.asarray([i for i in range(len(items)) if i not in failed], dtype=np.int64)
    return Arrays(values[[place[int(i)] for i in kept]], kept, tuple(failed[i] for i in sorted(failed)))


def _check(encoder: Encoder[Any], run: Run, views: ViewRecipe | None) -> None:
    if views and encoder.size is None:
        raise UsageError(f"The {encoder.modality} encoder has no pixels, so it has no views: leave views out.")
    if run.precision not in ("fp32", "bf16", "int8"):
        raise UsageError(f"Precision {run.precision!r} is unknown: use 'fp32', 'bf16' or 'int8'.")
    if run.batch < 1:
        raise UsageError(f"A batch holds at least 1 item, not {run.batch}.")


def _keys(items: Samples[Any]) -> tuple[dict[str, int], dict[int, UnreadableItem], dict[int, int]]:
    """Return key -> first position, position -> error of items without key, position -> number of its key."""
    first: dict[str, int] = {}
    number: dict[str, int] = {}
    failed, place = {}, {}
    for i in range(len(items)):
        try:
            key = items.key(i)
        except UnreadableItem as error:
            failed[i] = error
            continue
        first.setdefault(key, i)
        place[i] = number.setdefault(key, len(number))
    return first, failed, place


def space_facts(
    encoder: Encoder[Any], run: Run, runner: Runner | None = None, views: ViewRecipe | None = None, draw: int = 0
) -> dict[str, Any]:
    """Return all that decides a vector besides the item; its hash is the space of the store. Other runtimes round otherwise than torch."""
    return {
        "encoder": encoder.fingerprint,
        "modality": encoder.modality,
        "dim": encoder.dim,
        "precision": runner.precision if runner else run.precision,
        "views": views.name if views else None,
        "draw": draw,
        **(runner.facts if runner else {}),
    }


class _Source:
    """Decodes items by key, in any thread, and turns a batch of them into model inputs.

    Images become tensors of the tower's size in the thread that decodes them, so that at most ``workers`` full-size images are alive.
    """

    def __init__(self, encoder: Encoder[Any], items: Samples[Any], first: Mapping[str, int], views: ViewRecipe | None) -> None:
        self.encoder, self._items, self._first, self._views = encoder, items, first, views
        self.broken: dict[str, UnreadableItem] = {}

    def try_again(self, keys: Iterable[str]) -> None:
        """Read items that failed in an earlier run: a codec may have been installed since."""
        for key in keys:
            try:
                self._items[self._first[key]]
            except UnreadableItem as error:
                self.broken[key] = error

    def read(self, key: str, draws: Sequence[int]) -> Any:
        """Return the item as {draw: uint8 (S, S, 3)}, as inputs of one, or as itself; or the error why it cannot be read."""
        try:
            item = self._items[self._first[key]]
        except UnreadableItem as error:
            return error
        if self._views:
            size = self.encoder.size or 0
            return {d: self._views.draw(item, size, key, d) for d in draws}
        return item if self.encoder.size is None else self.encoder.inputs([item])

    def inputs(self, read: Sequence[Any], draw: int) -> Any:
        """Return the inputs of a batch of what ``read`` gave, errors left out."""
        if self._views:
            import torch

            return self.encoder.inputs([torch.tensor(r[draw]).permute(2, 0, 1).float() / 255 for r in read])
        return self.encoder.inputs(read) if self.encoder.size is None else _joined(read)


def _joined(parts: Sequence[Any]) -> Any:
    """Join inputs of one item each: arrays, tensors, or several of them by name."""
    if isinstance(parts[0], Mapping):
        return {name: _joined([p[name] for p in parts]) for name in parts[0]}
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    import torch

    return torch.cat(list(parts))


def _encode(
    source: _Source, plans: Sequence[Sequence[Batch]], spaces: Sequence[str], vectors: Vectors, run: Run, runner: Runner | None
) -> None:
    """Encode planned batches; batches of equal members in several draws are decoded together."""
    jobs: dict[tuple[str, ...], list[tuple[int, Batch]]] = {}
    for draw, batches in enumerate(plans):
        for batch in batches:
            jobs.setdefault(batch.keys, []).append((draw, batch))

    def unfinished() -> Iterator[tuple[tuple[str, ...], list[tuple[int, Batch]]]]:
        for keys, parts in jobs.items():  # another process may be at the same work
            rest = [(draw, batch) for draw, batch in parts if not vectors.finished(spaces[draw], batch)]
            bar.advance(len(keys) * (len(parts) - len(rest)))
            if rest:
                yield keys, rest

    with run.track(f"encode {source.encoder.modality}", sum(len(k) * len(parts) for k, parts in jobs.items())) as bar:
        for keys, parts, read in _read_ahead(unfinished(), source.read, run.workers):
            broken = {k: r for k, r in zip(keys, read, strict=True) if isinstance(r, UnreadableItem)}
            source.broken.update(broken)
            good = [r for r in read if not isinstance(r, UnreadableItem)]
            run.tally["decoded"] += len(good)
            for draw, batch in parts:
                rows = (
                    _rows(source.encoder, source.inputs(good, draw), run, runner) if good else np.zeros((0, source.encoder.dim), np.float32)
                )
                vectors.put(spaces[draw], batch, rows, {k: e.reason for k, e in broken.items()})
                run.tally["encoded"] += len(good)
                bar.advance(len(keys))


def _read_ahead(
    jobs: Iterable[tuple[tuple[str, ...], list[tuple[int, Batch]]]], read: Callable[[str, Sequence[int]], Any], workers: int
) -> Iterator[tuple[tuple[str, ...], list[tuple[int, Batch]], list[Any]]]:
    """Yield jobs with their items read, in order, keeping ``_AHEAD`` jobs in the hands of the threads."""
    pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="decode")
    waiting: deque[tuple[tuple[str, ...], list[tuple[int, Batch]], list[Future[Any]]]] = deque()
    try:
        for keys, parts in jobs:
            draws = [draw for draw, _ in parts]
            waiting.append((keys, parts, [pool.submit(read, key, draws) for key in keys]))
            if len(waiting) > _AHEAD:
                done, rest, futures = waiting.popleft()
                yield done, rest, [f.result() for f in futures]
        while waiting:
            done, rest, futures = waiting.popleft()
            yield done, rest, [f.result() for f in futures]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _rows(encoder: Encoder[Any], x: Any, run: Run, runner: Runner | None) -> NDArray[np.float32]:
    """Encode without gradients; the caller's grad mode comes back whatever happens."""
    if runner:
        return runner(x)
    import torch

    kind = torch.device(run.device).type
    moved = {name: t.to(run.device) for name, t in x.items()} if isinstance(x, Mapping) else x.to(run.device)
    with torch.no_grad(), torch.autocast(kind, dtype=torch.bfloat16, enabled=run.precision == "bf16"):
        rows: NDArray[np.float32] = encoder.encode(moved).float().cpu().numpy()
    return rows
