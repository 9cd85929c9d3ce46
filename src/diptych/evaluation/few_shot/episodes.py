"""Few-shot draws that a board can use: readable items only, and what stood in for a broken one is named."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.core import Backbone, DataError, Run, Subset, Table, UnreadableItem, UsageError
from diptych.data.labelled import LabelledData
from diptych.data.splits import ValRule, few_shot
from diptych.evaluation.few_shot.unlabelled import key_of
from diptych.features.embed import embed_readable


@dataclass(frozen=True)
class Episode:
    """What one few-shot run may see.

    Args:
        train: the shots, class by class in draw order.
        val: items on which choices are made; none of them is in train.
        failed: drawn items that could not be read; the next of their class stand in for them.
        seconds: spent encoding; set by who measures it.
        held: further items of where val comes from, which no system sees: what rows are compared and calibrated on;
            None: none are left.
    """

    train: Table[Any]
    val: Table[Any]
    failed: tuple[UnreadableItem, ...]
    seconds: float = 0.0
    held: Table[Any] | None = None


def measured(data: LabelledData) -> str:
    """Return the split that is reported: "test", or "val" where there is no test split.

    Raises:
        DataError: there is neither, or it has no labels.
    """
    name = "test" if "test" in data.splits else "val"
    if name not in data.splits:
        raise DataError(f"{data.name} has only a train split, so nothing can be measured: add a folder named 'test'.")
    data.splits[name].labels()
    return name


def readable(table: Table[Any], backbone: Backbone, run: Run) -> tuple[Table[Any], tuple[UnreadableItem, ...]]:
    """Return the items that can be read, all encoded, and those that cannot.

    Raises:
        DataError: none can be read.
    """
    return embed_readable(backbone.image, table.items, run).some("pictures").rows(table)


def chosen_on(data: LabelledData) -> str:
    """Return the split on which choices are made: "val", or "train" where val is missing or is what is measured."""
    return "val" if measured(data) == "test" and "val" in data.splits else "train"


def episode(
    data: LabelledData,
    shots: int,
    seed: int,
    val: ValRule,
    backbone: Backbone,
    run: Run,
    *,
    held: int = 0,
    within: Collection[str] | None = None,
) -> Episode:
    """Draw as ``data.splits.draw`` does, but pass over items that cannot be read, in draw order.

    Args:
        data: has a train split, and test or val.
        shots: train items per class.
        seed: integer from 0.
        val: "coop" takes min(shots, 4) val items per class, "full" all.
        backbone: encodes what is drawn, since only that tells what can be read.
        run: device, cache and progress.
        held: items per class that are drawn besides, at most, and shown to no system.
        within: content keys among which these are drawn; None: all.

    Raises:
        DataError: no train split, or no readable item is left to choose on.
    """
    if val not in ("coop", "full"):
        raise UsageError(f"{val!r} is no rule for val: choose 'coop' or 'full'.")
    train = data.split("train")
    rows, failed = _drawn(train, shots, seed, backbone, run)
    episode_val = chosen_on(data) == "val"
    pool = data.splits["val"] if episode_val else train
    taken: Collection[int] = () if episode_val else set(rows)
    few = min(shots, 4) if val == "coop" else len(pool)
    chosen, more = _drawn(pool, few, seed, backbone, run, taken)
    if not chosen:
        where = f"{data.name} has no readable item left after {shots} shots on which choices could be made"
        raise DataError(f"{where}: add a 'val' folder beside 'test', or draw fewer.")
    rest, others = (
        _drawn(pool, held, seed, backbone, run, {*taken, *chosen, *_outside(pool, within)}) if held else ([], [])
    )
    unique = {e.name: e for e in (*failed, *more, *others)}
    order = chosen if val == "coop" else sorted(chosen)
    return Episode(train.take(rows), pool.take(order), tuple(unique.values()), held=pool.take(rest) if rest else None)


def held_out(
    data: LabelledData, count: int, seed: int, backbone: Backbone, run: Run, within: Collection[str] | None = None
) -> tuple[Table[Any] | None, list[UnreadableItem]]:
    """Draw what an episode holds back, for systems that see no label: of val, or of train where val is missing or is
    what is measured.

    Args:
        data: any data set.
        count: items per class, at most.
        seed: integer from 0.
        backbone: encodes what is drawn.
        run: device, cache and progress.
        within: as for ``episode``.

    Returns:
        The items, or None where there is no labelled split besides the measured one; and the broken ones met.
    """
    name = chosen_on(data)
    if name not in data.splits:
        return None, []
    pool = data.splits[name]
    rows, failed = _drawn(pool, count, seed, backbone, run, set(_outside(pool, within)))
    return (pool.take(rows) if rows else None), failed


def _outside(table: Table[Any], within: Collection[str] | None) -> list[int]:
    return [] if within is None else [i for i in range(len(table)) if key_of(table.items, i) not in within]


def _drawn(
    table: Table[Any], count: int, seed: int, backbone: Backbone, run: Run, taken: Collection[int] = ()
) -> tuple[list[int], list[UnreadableItem]]:
    """Return the first ``count`` readable items of each class that are not taken, in draw order, and broken ones."""
    labels = table.labels()
    order = [int(i) for i in few_shot(labels, max(1, len(labels)), seed) if int(i) not in taken]
    good: set[int] = set()
    broken: dict[int, UnreadableItem] = {}
    while True:
        left = [i for i in order if i not in broken]
        held = np.zeros(int(labels.max(initial=-1)) + 1, dtype=np.int64)
        rows = []
        for i in left:
            if held[labels[i]] < count:
                held[labels[i]] += 1
                rows.append(i)
        unknown = [i for i in rows if i not in good]
        if not unknown:
            return rows, list(broken.values())
        embedded = embed_readable(backbone.image, Subset(table.items, tuple(unknown)), run)
        rows_read = {int(i) for i in embedded.kept}
        good |= {unknown[i] for i in rows_read}
        lost = [row for i, row in enumerate(unknown) if i not in rows_read]
        broken |= dict(zip(lost, embedded.failed, strict=True))
