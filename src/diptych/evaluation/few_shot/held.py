"""Labelled items apart from test, on which rows are compared and calibrated: one set per seed for all rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import Backbone, Classifier, DataError, Evidence, Run, Samples, Table
from diptych.data.labelled import LabelledData
from diptych.evaluation.few_shot.episodes import Episode, chosen_on, held_out
from diptych.evaluation.few_shot.unlabelled import key_of

HELD = 16
"""Items a class, at most, that no system sees."""


@dataclass
class Held:
    """The held items of a board.

    A seed's set lies beside its largest draw, of which its smaller draws are parts; so all rows of a seed are compared
    on the same items.

    Args:
        data: with a train split where any row learns.
        shots: of the rows that learn; () where none does.
        draw: (shots, run) -> the draw, encoded.
        run: device, cache and progress; its seed is not read.
        broken: told of items that cannot be read.
        within: content keys among which they lie; None: anywhere.
    """

    data: LabelledData
    shots: Sequence[int]
    draw: Callable[[int, Run], Episode]
    backbone: Backbone
    run: Run
    broken: Callable[[Sequence[Any]], None]
    within: Collection[str] | None = None
    known: dict[int, Table[Any] | None] = field(default_factory=dict)

    def of(self, seed: int) -> Table[Any] | None:
        """Return the held items of a seed: what is left beside its largest draw, or else each second item of its val.

        None where there is no labelled split besides the measured one, or not two items of any class in val.
        """
        if seed not in self.known:
            self.known[seed] = self._of(replace(self.run, seed=seed))
        return self.known[seed]

    def _of(self, run: Run) -> Table[Any] | None:
        for shots in sorted(self.shots, reverse=True):
            try:
                drawn = self.draw(shots, run)
            except DataError:
                continue  # nothing is left to choose on: these shots have no row
            if drawn.held is not None:
                return drawn.held
            _, second = halves(drawn.val.labels())
            return drawn.val.take(second) if second else None
        table, failed = held_out(self.data, HELD, run.integer("shots"), self.backbone, run, self.within)
        self.broken(failed)
        return table


def apart(method: Classifier, evidence: Evidence[Any], held: Table[Any] | None) -> tuple[Evidence[Any], bool]:
    """Return the evidence without the held items of a seed, and whether fit sees some of them all the same, as cards
    say.

    Returns:
        The same object where no held item stands in a val that the method reads; it sees them where nothing else is in
        that val.
    """
    needs = method.card.needs
    if held is None or evidence.val is None or "val" not in (*needs.evidence, *needs.optional):
        return evidence, False
    rows = others(evidence.val, keys_of(held.items))
    if len(rows) == len(evidence.val):
        return evidence, False
    return (replace(evidence, val=evidence.val.take(rows)), False) if rows else (evidence, True)


def reserved(data: LabelledData, given: Samples[Any]) -> frozenset[str] | None:
    """Return the content keys of the items that label-free systems are not given, so that rows can be compared on some
    of them.

    They are the largest quarter of the keys of the split on which choices are made: no label has a say in it.

    Returns:
        The keys, or None where the split shares no image with ``given``, or is not there.
    """
    name = chosen_on(data)
    pool = keys_of(data.splits[name].items) if name in data.splits else frozenset()
    return frozenset(sorted(pool)[-max(1, len(pool) // 4) :]) if pool & keys_of(given) else None


def keys_of(items: Samples[Any]) -> frozenset[str]:
    """Return the content keys of the items that can be read."""
    return frozenset(key for i in range(len(items)) if (key := key_of(items, i)))


def others(table: Table[Any], keys: Collection[str]) -> list[int]:
    """Return the rows whose content is not among the keys."""
    return [i for i in range(len(table)) if key_of(table.items, i) not in keys]


def halves(labels: NDArray[np.int64]) -> tuple[list[int], list[int]]:
    """Return two halves of the items, class by class in turn; the first has the odd one."""
    rows = [np.flatnonzero(labels == k).tolist() for k in np.unique(labels)]
    return sorted(i for row in rows for i in row[::2]), sorted(i for row in rows for i in row[1::2])
