"""Decoding ahead of encoding: threads decode the next batches while one is encoded and written.

Torch is imported only where it encodes.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, Encoder, Run, Runner, Samples, UnreadableItem
from diptych.core.wording import one_line
from diptych.data.images import drafts
from diptych.store.layers import Vectors
from diptych.store.plans import Batch

if TYPE_CHECKING:
    from diptych.data.views import ViewRecipe

DRAFT = 2
"""Least side of a draft, as a multiple of the tower's side; the measured cost of drafts is for this value."""
_AHEAD = 2  # batches decoded ahead, or as many as keep all threads busy; this bounds memory


def cores() -> int:
    """Return the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class NotFinite(DataError):
    """A vector of an encoder holds NaN or an infinite number."""


def refuse_not_finite(rows: NDArray[np.float32], encoder: Encoder[Any], name: Callable[[int], str]) -> None:
    """Refuse vectors that are not finite, with which every score would be NaN.

    Args:
        rows: (B, ..., D) vectors.
        encoder: that gave them.
        name: row -> what it is called, a photo or a text.

    Raises:
        NotFinite: one is not; the first is named.
    """
    if np.isfinite(rows).all():
        return
    first = int(np.flatnonzero(~np.isfinite(rows).reshape(len(rows), -1).all(axis=1))[0])
    spec = getattr(encoder, "spec", None)
    model = f"model {encoder.fingerprint[:12]}" if spec is None else spec.name
    raise NotFinite(
        f"{model} gives a vector for {one_line(name(first))[:120]!r} that is not finite: its weights are damaged, or "
        f"too large for this precision; get the model again, or use fp32."
    )


@dataclass
class StageTimes:
    """Durations of decoding and encoding in one call.

    Args:
        encode: size of a batch -> least seconds.
        decode: least seconds of one item in one thread; infinite where none was read.
    """

    encode: dict[int, float] = field(default_factory=dict)
    decode: float = math.inf


class Source:
    """Decodes items by key, in any thread, and makes model inputs of a batch.

    Images become tensors of the tower's size in the thread that decodes them. So at most ``workers`` full-size images
    are in memory.
    """

    def __init__(
        self,
        encoder: Encoder[Any],
        items: Samples[Any],
        first: Mapping[str, int],
        views: ViewRecipe | None,
        drafted: bool,
    ) -> None:
        self.encoder, self._items, self._first, self._views = encoder, items, first, views
        self._drafts = partial(drafts, DRAFT * (encoder.size or 0)) if drafted else contextlib.nullcontext
        self.broken: dict[str, UnreadableItem] = {}
        self.times = StageTimes()

    def name(self, keys: Sequence[str], i: int) -> str:
        """Return the name of the first item with the i-th of the keys."""
        return self._items.name(self._first[keys[i]])

    def try_again(self, keys: Iterable[str]) -> None:
        """Read again items that failed in an earlier run, since a codec may have been installed."""
        for key in keys:
            try:
                self._items[self._first[key]]
            except UnreadableItem as error:
                self.broken[key] = error

    def read(self, key: str, draws: Sequence[int]) -> Any:
        """Return one decoded item, or the error why it cannot be read.

        It is {draw: uint8 (S, S, 3)} with views, inputs of one item for images, and the item itself otherwise.
        """
        start = time.perf_counter()
        with self._drafts():
            try:
                item = self._items[self._first[key]]
            except UnreadableItem as error:
                return error
            if self._views:
                size = self.encoder.size or 0
                return {d: self._views.draw(item, size, key, d) for d in draws}
            read = item if self.encoder.size is None else self.encoder.inputs([item])
        self.times.decode = min(self.times.decode, time.perf_counter() - start)
        return read

    def inputs(self, read: Sequence[Any], draw: int) -> Any:
        """Return the inputs of a batch of results of ``read`` that are no errors."""
        if self._views:
            import torch

            return self.encoder.inputs([torch.tensor(r[draw]).permute(2, 0, 1).float() / 255 for r in read])
        return self.encoder.inputs(read) if self.encoder.size is None else joined(read)


def joined(parts: Sequence[Any]) -> Any:
    """Join inputs of one item each: arrays, tensors, or several of them by name."""
    if isinstance(parts[0], Mapping):
        return {name: joined([p[name] for p in parts]) for name in parts[0]}
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    import torch

    # Not torch.cat, whose threads wait for each other: on busy cores that took a hundred times as long as the copy.
    return torch.from_numpy(np.concatenate([part.numpy() for part in parts]))


def encode(
    source: Source,
    plans: Sequence[Sequence[Batch]],
    spaces: Sequence[str],
    vectors: Vectors,
    run: Run,
    runner: Runner | None,
) -> None:
    """Encode planned batches. Batches of several draws with the same members are decoded once."""
    jobs: dict[tuple[str, ...], list[tuple[int, Batch]]] = {}
    for draw, batches in enumerate(plans):
        for batch in batches:
            jobs.setdefault(batch.keys, []).append((draw, batch))

    def unfinished() -> Iterator[tuple[tuple[str, ...], list[tuple[int, Batch]]]]:
        for keys, parts in jobs.items():  # another process may have encoded some
            rest = [(draw, batch) for draw, batch in parts if not vectors.finished(spaces[draw], batch)]
            bar.advance(len(keys) * (len(parts) - len(rest)))
            if rest:
                yield keys, rest

    with run.track(_title(source.encoder, run, runner), sum(len(k) * len(parts) for k, parts in jobs.items())) as bar:
        for keys, parts, read in _read_ahead(
            unfinished(), source.read, 0 if source.encoder.modality == "text" else run.workers
        ):
            broken = {k: r for k, r in zip(keys, read, strict=True) if isinstance(r, UnreadableItem)}
            source.broken.update(broken)
            good = [r for r in read if not isinstance(r, UnreadableItem)]
            there = [k for k in keys if k not in broken]
            run.tally["decoded"] += len(good)
            for draw, batch in parts:
                start = time.perf_counter()
                rows = (
                    encoded_rows(source.encoder, source.inputs(good, draw), run, runner, partial(source.name, there))
                    if good
                    else np.zeros((0, source.encoder.dim), np.float32)
                )
                seconds = time.perf_counter() - start
                source.times.encode[len(good)] = min(seconds, source.times.encode.get(len(good), math.inf))
                vectors.put(spaces[draw], batch, rows, {k: e.reason for k, e in broken.items()})
                run.tally["encoded"] += len(good)
                bar.advance(len(keys))


def _title(encoder: Encoder[Any], run: Run, runner: Runner | None) -> str:
    engine, precision = (runner.facts.get("engine", "torch"), runner.precision) if runner else ("torch", run.precision)
    return f"encode {encoder.modality} on {run.device}, {engine} {precision}"


def _read_ahead(
    jobs: Iterable[tuple[tuple[str, ...], list[tuple[int, Batch]]]],
    read: Callable[[str, Sequence[int]], Any],
    workers: int,
) -> Iterator[tuple[tuple[str, ...], list[tuple[int, Batch]], list[Any]]]:
    """Yield jobs with their items read, in order.

    The threads read ``_AHEAD`` jobs, or two items a thread, in advance. Without threads, which cost more than a text is
    worth, each job is read when it is due.
    """
    if workers == 0:
        for keys, parts in jobs:
            yield keys, parts, [read(key, [draw for draw, _ in parts]) for key in keys]
        return
    pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="decode")
    waiting: deque[tuple[tuple[str, ...], list[tuple[int, Batch]], list[Future[Any]]]] = deque()
    try:
        for keys, parts in jobs:
            draws = [draw for draw, _ in parts]
            waiting.append((keys, parts, [pool.submit(read, key, draws) for key in keys]))
            while len(waiting) > _AHEAD and sum(len(k) for k, _, _ in waiting) - len(waiting[0][0]) >= 2 * workers:
                done, rest, futures = waiting.popleft()
                yield done, rest, [f.result() for f in futures]
        while waiting:
            done, rest, futures = waiting.popleft()
            yield done, rest, [f.result() for f in futures]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def encoded_rows(
    encoder: Encoder[Any], x: Any, run: Run, runner: Runner | None, name: Callable[[int], str]
) -> NDArray[np.float32]:
    """Return (B, D) float32 vectors of model inputs; without gradients, and the gradient mode is restored.

    Args:
        encoder: of the inputs.
        x: inputs of B items.
        run: device and precision.
        runner: another runtime than torch.
        name: row -> what the item is called.

    Raises:
        NotFinite: a vector is not finite.
    """
    rows = runner(x) if runner else _by_torch(encoder, x, run)
    refuse_not_finite(rows, encoder, name)
    return rows


def _by_torch(encoder: Encoder[Any], x: Any, run: Run) -> NDArray[np.float32]:
    import torch

    kind = torch.device(run.device).type
    moved = {name: t.to(run.device) for name, t in x.items()} if isinstance(x, Mapping) else x.to(run.device)
    with torch.no_grad(), torch.autocast(kind, dtype=torch.bfloat16, enabled=run.precision == "bf16"):
        rows: NDArray[np.float32] = encoder.encode(moved).float().cpu().numpy()
    return rows
