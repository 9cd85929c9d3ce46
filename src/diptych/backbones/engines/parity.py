"""How near a runtime's vectors stay to torch's float32 ones, and how fast they come."""

from __future__ import annotations

import io
import itertools
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from diptych.backbones.sources.selftest import SENTENCE, picture
from diptych.core import Encoder, Inputs

LEAST, MOST, LONG = 3, 9, 12.0
"""Timed turns of all forwards, and the seconds after which no further one starts. The race ends before, from ``LEAST``
turns on, where ``AGREED`` turns in a row had the same winner by ``CLEARLY``.
"""
AGREED, CLEARLY = 3, 1.05
"""Turns, and how many times as fast as the others the winner of each is."""
BEHIND = 3.0
"""After the second turn, who took more than this many times the seconds of the fastest runs no further one."""
TIMED = 16
"""Items of a turn."""
TEXTS = (
    SENTENCE,
    "cat",
    "a photo of a dog.",
    "two small boats on a calm lake, seen from a bridge in the morning",
    "a close-up photo of the handwritten label on a dark green glass bottle, which stands beside three lemons on a "
    "wooden table",
    *(
        " ".join(parts)
        for parts in itertools.product(
            (
                "A man in a red jacket",
                "Two young girls",
                "A brown dog with a ball in its mouth",
                "Several people in uniform",
            ),
            ("runs across", "is sitting on", "jump over", "looks at something beyond"),
            ("a snowy field .", "the steps of an old building .", "a wooden bench beside the water"),
        )
    ),
)
"""Of all lengths; captions of people lose most in bfloat16, so that a few easy sentences would let through what real
captions do not.
"""


def rows(encoder: Encoder[Any], x: Inputs) -> NDArray[np.float32]:
    """Return (B, D) float32 vectors without gradients; the caller's grad mode comes back whatever happens."""
    with torch.no_grad():
        out: NDArray[np.float32] = encoder.encode(x).float().cpu().numpy()
    return out


@dataclass(frozen=True)
class Compared:
    """Cosines of N items.

    Args:
        together, alone: (N,) float64, cosine of an engine's vectors to torch's float32 vectors, in one batch and in
            batches of one.
        mates: (N,) cosine of the engine's two vectors.
    """

    together: NDArray[np.float64]
    alone: NDArray[np.float64]
    mates: NDArray[np.float64]

    @property
    def least(self) -> float:
        """The least cosine to torch."""
        return float(min(self.together.min(), self.alone.min()))

    @property
    def mean(self) -> float:
        """The mean cosine to torch."""
        return float(np.mean([self.together, self.alone]))


class Reference:
    """Torch's vectors of some items, computed when a first engine is compared with them.

    Args:
        encoder: float32.
        items: N pictures or texts; None: fixed ones.
    """

    def __init__(self, encoder: Encoder[Any], items: Sequence[Any] | None = None) -> None:
        self.encoder, self._items = encoder, items

    @cached_property
    def items(self) -> list[Any]:
        """The N pictures or texts."""
        return list(fixed_items(self.encoder) if self._items is None else self._items)

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """(N, D) float32 vectors of torch."""
        return rows(self.encoder, self.encoder.inputs(self.items))

    def compared(self, forward: Callable[[Any], NDArray[np.float32]]) -> Compared:
        """Compare an engine's vectors of the items with torch's."""
        together = forward(self.encoder.inputs(self.items))
        alone = np.concatenate([forward(self.encoder.inputs([item])) for item in self.items])
        return Compared(_cosine(self.vectors, together), _cosine(self.vectors, alone), _cosine(together, alone))


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    if a.shape != b.shape:
        raise ValueError(f"vectors of size {b.shape} instead of {a.shape}")
    u, v = a.astype(np.float64), b.astype(np.float64)
    cosines: NDArray[np.float64] = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    return np.where(np.isfinite(cosines), cosines, -1.0)


def fixed_items(encoder: Encoder[Any]) -> Sequence[Any]:
    """Return the fixed items of the comparison.

    They are crops of the self-test picture in several lights, or sentences of all lengths.
    """
    if encoder.size is None:
        return TEXTS
    wide = picture()
    return [
        wide,
        wide.rotate(180),
        wide.crop((0, 0, 40, 40)),
        wide.point([v // 3 for v in range(256)] * 3),
        wide.convert("L").convert("RGB"),
    ]


class Speed(NamedTuple):
    """How many times as fast as torch's float32 a runtime is.

    Args:
        forward: the forward pass alone.
        small_photos: small photos from their bytes, decoded and resized; NaN for texts.
    """

    forward: float
    small_photos: float = float("nan")


def measured_speeds(
    encoder: Encoder[Any], forwards: Sequence[Callable[[Any], Any]], advance: Callable[[int], None] = lambda n: None
) -> list[Speed]:
    """Return the speed of each forward relative to torch's float32, on 16 fixed items.

    All forwards run in interleaved turns, of which the fastest counts. There are few turns where one is clearly the
    fastest, and more where two are near each other; who is far behind stays out of them. ``advance`` is called with the
    number of turns that are over, and at the end with those that are not needed: MOST in all.

    small_photos = (r + t) / (r + f): r seconds to decode and resize 16 JPEG files of 400 x 300 pixels in all cores,
    t of torch's forward and f of the runtime's.
    """
    items = fixed_items(encoder)
    x = encoder.inputs([items[n % len(items)] for n in range(TIMED)])
    clock = _clock()
    reading = None if encoder.size is None else _reading(encoder)
    contenders = [lambda y: rows(encoder, y), *forwards]
    racing = list(range(len(contenders)))
    turns: list[list[float]] = [[] for _ in contenders]
    reads: list[float] = []
    for turn in range(MOST):
        if reading is not None:
            reads.append(_seconds(clock, reading, x))
        for n in racing:
            turns[n].append(_seconds(clock, contenders[n], x))
        if turn:
            late = {n: min(turns[n][1:]) for n in racing}  # without the first turn, which opens runtimes
            racing = [n for n in racing if late[n] <= BEHIND * max(min(late.values()), _tick(turns))]
        long = sum(map(sum, [reads, *turns])) > LONG
        if turn + 1 >= LEAST and (len(racing) == 1 or _decided([turns[n] for n in racing]) or long):
            advance(MOST - turn)
            break
        advance(1)
    tick = _tick([*turns, reads])
    read = max(min(reads, default=float("nan")), tick)
    plain, *ours = (max(min(turn), tick) for turn in turns)
    return [Speed(plain / seconds, (read + plain) / (read + seconds)) for seconds in ours]


def _tick(turns: Sequence[Sequence[float]]) -> float:
    """Return the least seconds that a clock showed and that are not 0: CPU seconds come in steps, of 10 ms on some."""
    return min((seconds for turn in turns for seconds in turn if seconds > 0), default=1.0)


def _seconds(clock: Callable[[], float], run: Callable[[Any], Any], x: Inputs) -> float:
    start = clock()
    run(x)
    return clock() - start


def _decided(turns: Sequence[Sequence[float]]) -> bool:
    """Return whether the same contender of those that race won the last ``AGREED`` turns clearly; the first turn, which
    opens runtimes, does not count.
    """
    late = list(zip(*(seconds[1:] for seconds in turns), strict=True))[-AGREED:]
    order = [sorted(range(len(turn)), key=turn.__getitem__) for turn in late]
    clear = [turn[second] > CLEARLY * turn[first] for turn, (first, second, *_) in zip(late, order, strict=True)]
    return len(late) == AGREED and all(clear) and len({first for first, *_ in order}) == 1


def _reading(encoder: Encoder[Any]) -> Callable[[Any], Any]:
    """Return what decodes and resizes 16 small photos, as many at once as there are cores."""
    file = io.BytesIO()
    picture().resize((400, 300)).save(file, "JPEG", quality=90)
    data = file.getvalue()

    def read(_: int) -> Any:
        with Image.open(io.BytesIO(data)) as photo:
            return encoder.inputs([photo.convert("RGB")])

    def all_of_them(_: Any) -> Any:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            return list(pool.map(read, range(TIMED)))

    return all_of_them


def _clock() -> Callable[[], float]:
    """Return the clock on the wall, or CPU seconds where others have the cores: there the wall measures them."""
    try:
        busy = os.getloadavg()[0] > 1.5 * (os.cpu_count() or 1)
    except (AttributeError, OSError):  # Windows
        busy = False
    return time.process_time if busy else time.perf_counter
