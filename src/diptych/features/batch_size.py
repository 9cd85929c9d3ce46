"""Choice of batch size and threads by a short calibration on the first items, whose vectors are stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from diptych.core import Encoder, Run, Samples, Subset
from diptych.features.embed import embed_arrays
from diptych.features.pipeline import cores

TRIED = (8, 32, 128)
"""Batch sizes to try, smallest first, so that progress shows soon."""
MOST_ON_CPU = 32
"""Largest size to try on the CPU. Larger ones were no faster with any runtime; 128 took 1 GB more with ``lite``."""
ROUNDS = 2
"""Batches of each size, of which the fastest counts, since the first allocates buffers."""
WORTH = 4 * ROUNDS * sum(TRIED)
"""Least number of items for a calibration."""
NEAR = 0.95
"""Share of the best rate that a smaller batch must reach to be preferred, since it needs less memory."""


def calibrate(encoder: Encoder[Any], items: Samples[Any], run: Run) -> Run:
    """Return the run with the batch size and threads that are 0, which means automatic, chosen on the first items.

    Few items, or a run without a cache folder, give no calibration, since its vectors would be encoded twice.
    """
    if (run.batch and run.workers) or run.cache is None or len(items) < WORTH:
        return run
    seconds: dict[int, float] = {}
    start, decode = 0, math.inf
    tried = [size for size in TRIED if run.device != "cpu" or size <= MOST_ON_CPU]
    for size in (run.batch,) if run.batch else tried:
        part = Subset(items, tuple(range(start, min(start + ROUNDS * size, len(items)))))
        times = embed_arrays(encoder, part, replace(run, batch=size)).times
        start += ROUNDS * size
        if size not in times.encode:  # all of them stored, unreadable or duplicates: there is nothing to measure
            return run
        seconds[size], decode = times.encode[size], min(decode, times.decode)
    batch = run.batch or best_batch(seconds)
    return replace(run, batch=batch, workers=run.workers or threads(decode, seconds[batch] / batch, cores()))


def best_batch(seconds: Mapping[int, float]) -> int:
    """Return the smallest batch size whose rate is at least ``NEAR`` of the best."""
    rates = {size: size / duration for size, duration in seconds.items()}
    return min(size for size, rate in rates.items() if rate >= NEAR * max(rates.values()))


def threads(decode: float, encode: float, cores: int) -> int:
    """Return the number of threads that decode: one more than keep up with the encoder, at most the cores.

    Args:
        decode: seconds to decode one item in one thread.
        encode: seconds to encode one item.
        cores: processor cores of the machine.
    """
    return max(1, min(cores, 1 + math.ceil(decode / encode)))
