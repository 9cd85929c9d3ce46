"""The items of a pool with the verdicts of a curator, which decides on rows or on blocks."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from diptych.core import Curator, Kit, Plan, Run, Stream, UnreadableItem, Verdict, Verdicts
from diptych.core.blocks import Block
from diptych.tasks.curate.stream import Once, OnceInBlocks, outcome_blocks, outcomes


def judged(
    curator: Curator,
    kit: Kit,
    plan: Plan,
    stream: Stream[Any],
    run: Run,
    part: int = sys.maxsize,
    passed: int = 0,
    *,
    pictures: bool = False,
) -> Iterator[tuple[int, int, Iterator[tuple[Any, Verdict]]]]:
    """Yield numbers of items, the position of the last of them, and of these (item, verdict) of each one that is kept,
    or that cannot be judged; the curator is given what can be read.

    Args:
        curator: as ``apply_plan``.
        kit: as ``apply_plan``.
        plan: as ``apply_plan``.
        stream: the pool.
        run: as ``apply_plan``.
        part: items of which none are given together with the next ones.
        passed: first items that are left out.
        pictures: kept items have their pictures.
    """
    if curator.by_rows:
        for item, verdict in _by_rows(curator, kit, plan, itertools.islice(outcomes(stream), passed, None), run):
            yield 1, verdict.position, iter([(item, verdict)] if verdict.keep or verdict.reason else [])
        return
    # the source is read once: what the curator has read ahead of the verdicts is a few blocks
    source, copy = itertools.tee(_without(outcome_blocks(stream), passed))
    readable = (block.readable() for block in copy if len(block.failed) < len(block))
    decisions, seen = curator.decide(kit, plan, OnceInBlocks.of(readable), run), 0
    for block in source:
        some = next(decisions, None) if len(block.failed) < len(block) else None
        if len(block) - len(block.failed) != (0 if some is None else len(some)):
            raise ValueError(f"{curator.card.slug} does not give one verdict for each pair of a block.")
        verdicts = _with_failed(block, some)
        wanted, start = verdicts.keep.copy(), 0
        wanted[list(verdicts.reasons)] = True
        chosen = np.flatnonzero(wanted)
        while start < len(block):
            stop = min(len(block), start + part - seen % part)
            numbers = chosen[(chosen >= start) & (chosen < stop)].tolist()
            item = block.items.__getitem__ if pictures else block.unpictured
            yield stop - start, int(block.positions[stop - 1]), ((item(i), verdicts.row(i)) for i in numbers)
            seen, start = seen + stop - start, stop
    if next(decisions, None) is not None:
        raise ValueError(f"{curator.card.slug} judges more blocks than there are.")


def _without(blocks: Iterator[Block], count: int) -> Iterator[Block]:
    """Yield blocks without the first few items."""
    for block in blocks:
        yield block.behind(count) if count else block
        count -= min(count, len(block))


def _with_failed(block: Block, verdicts: Verdicts | None) -> Verdicts:
    """Return the verdicts of a block from those of the items that can be read, None where there is none."""
    if verdicts is not None and not block.failed:
        return verdicts
    numbers = [number for number in range(len(block)) if number not in block.failed]
    keep, scores = np.zeros(len(block), dtype=bool), np.full(len(block), math.nan)
    labels: list[tuple[str, ...]] = [()] * len(block)
    reasons = {number: item.reason for number, item in block.failed.items()}
    if verdicts is not None:
        keep[numbers], scores[numbers] = verdicts.keep, verdicts.scores
        reasons |= {numbers[k]: reason for k, reason in verdicts.reasons.items()}
        for number, verdict in zip(numbers, verdicts.labels, strict=False):
            labels[number] = verdict
    return Verdicts(block.positions, keep, scores, reasons, labels)


def _by_rows(
    curator: Curator, kit: Kit, plan: Plan, outcomes: Iterator[tuple[int, Any]], run: Run
) -> Iterator[tuple[Any, Verdict]]:
    """Yield every item, or why it cannot be read, with its verdict."""
    # the source is read once: what the curator has read ahead of the verdicts is bounded by its chunks
    source, copy = itertools.tee(outcomes)
    verdicts = curator.apply(
        kit, plan, Once((p, item) for p, item in copy if not isinstance(item, UnreadableItem)), run
    )
    for position, item in source:
        if isinstance(item, UnreadableItem):
            yield item, Verdict(position, False, math.nan, item.reason)
        else:
            yield item, next(verdicts)
    if next(verdicts, None) is not None:
        raise ValueError("A curator gives one verdict per item, and this one gave more.")
