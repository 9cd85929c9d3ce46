"""Batch size and threads from a short calibration on the first items. Their vectors are kept: nothing is done for the
clock alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from diptych.core.backbone import Encoder
from diptych.core.data import Samples, Subset
from diptych.core.run import Run
from diptych.features.embed import embed_arrays
from diptych.features.pipeline import cores

TRIED = (8, 32, 128)
"""Batch sizes, the least first, so that the first rate is seen soon."""
MOST_ON_CPU = 32
"""Largest size that is tried on the CPU: larger ones were no faster with any runtime, and 128 took 1 GB more memory
with ``lite``.
"""
ROUNDS = 2
"""Batches of each size; the faster one counts, as the first warms buffers up."""
WORTH = 4 * ROUNDS * sum(TRIED)
"""Items from which on a calibration pays."""
NEAR = 0.95
"""A smaller batch is taken where it reaches this share of the best rate: it needs less memory and shows its progress
earlier.
"""


def calibrate(encoder: Encoder[Any], items: Samples[Any], run: Run) -> Run:
    """Return the run with batch size and threads where they were left to us (0), chosen on the first items if there are
    many.

    Args:
        encoder: of any modality.
        items: what will be embedded.
        run: with a cache folder, or nothing is tried: what is encoded must not be encoded again.
    """
    if (run.batch and run.workers) or run.cache is None or len(items) < WORTH:
        return run
    seconds: dict[int, float] = {}
    place, decode = 0, math.inf
    tried = [size for size in TRIED if run.device != "cpu" or size <= MOST_ON_CPU]
    for size in (run.batch,) if run.batch else tried:
        part = Subset(items, tuple(range(place, min(place + ROUNDS * size, len(items)))))
        clock = embed_arrays(encoder, part, replace(run, batch=size)).clock
        place += ROUNDS * size
        if size not in clock.encode:  # known, unreadable or twins of others: there is nothing to learn here
            return run
        seconds[size], decode = clock.encode[size], min(decode, clock.decode)
    batch = run.batch or best_batch(seconds)
    return replace(run, batch=batch, workers=run.workers or threads(decode, seconds[batch] / batch, cores()))


def best_batch(seconds: Mapping[int, float]) -> int:
    """Return the least size that encodes almost as many items a second as any.

    Args:
        seconds: of a batch, by its size.
    """
    rates = {size: size / taken for size, taken in seconds.items()}
    return min(size for size, rate in rates.items() if rate >= NEAR * max(rates.values()))


def threads(decode: float, encode: float, cores: int) -> int:
    """Return how many threads decode: as many as keep up with the encoder and one more, but not more than there are
    cores.

    Args:
        decode: seconds of one item in one thread.
        encode: seconds of one item.
        cores: of the machine.
    """
    return max(1, min(cores, 1 + math.ceil(decode / encode)))
