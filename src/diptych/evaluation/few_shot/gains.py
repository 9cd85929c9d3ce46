"""Rows of a board: the runs of one system with intervals, gains and p-values, and the choice between rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from diptych.core import Run
from diptych.evaluation.few_shot.plan import Job
from diptych.evaluation.outcome import Outcome, hits, intervals, mean_metrics
from diptych.metrics.estimate import Interval
from diptych.metrics.significance import holm
from diptych.metrics.two_way import item_gain, item_gain_p
from diptych.tasks.record import Record

BASE = ("zero-shot", "ensemble")
"""The row that gains are measured against."""


@dataclass(frozen=True)
class Row:
    """A system at a number of shots, over all seeds.

    Args:
        label: what a reader calls it; ``method`` and ``variant``: what the catalog does.
        shots: 0 where it sees no labels.
        records: one per seed.
        outcomes: one per seed.
        ci95: metric -> 95 % interval over items and seeds.
        gain: in top-1 over the zero-shot ensemble, paired by item; None for that row itself, or where it was not run.
        p: two-sided p-value of the gain, corrected by Holm over all rows of the board; None where there is no gain.
        alone: the same, not corrected.
    """

    label: str
    method: str
    variant: str
    shots: int
    records: tuple[Record, ...] = field(repr=False)
    outcomes: tuple[Outcome, ...] = field(repr=False)
    ci95: Mapping[str, tuple[float, float]]
    gain: Interval | None
    p: float | None = None
    alone: float | None = None

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Metrics averaged over seeds."""
        return mean_metrics(self.outcomes)

    @property
    def fitted(self) -> Mapping[str, str]:
        """What says which folder it was loaded from, see ``arms.Loaded``; {} where the system was fitted."""
        return self.records[0].fitted

    @cached_property
    def held(self) -> dict[str, float]:
        """Metrics on items apart from test, averaged over seeds; {} where there are none."""
        return _mean([r.held for r in self.records])

    @cached_property
    def acting(self) -> dict[str, float]:
        """What calibrated probabilities came to on test, averaged over seeds."""
        return _mean([r.acting for r in self.records])

    def seconds(self, part: str) -> float:
        """Return the mean wall seconds of "fit" or "predict", or of "texts", which are in neither."""
        return float(np.mean([r.seconds.get(part, 0.0) for r in self.records]))

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "label": self.label,
            "method": self.method,
            "variant": self.variant,
            "shots": self.shots,
            **({"fitted": dict(self.fitted)} if self.fitted else {}),
            "seeds": [r.seed for r in self.records],
            "metrics": self.metrics,
            "ci95": dict(self.ci95),
            "gain": None if self.gain is None else {"acc1": self.gain.value, "ci95": [self.gain.low, self.gain.high]},
            "p": self.alone,
            "p_holm": self.p,
            "held": self.held,
            "acting": self.acting,
            "images": self.records[0].images,
            "extra_texts": self.records[0].extra_texts,
            "seconds": {part: self.seconds(part) for part in ("fit", "predict", "texts")},
            "peak_memory_mib": max(r.peak_memory_mib for r in self.records),
        }


def rows_of(done: Sequence[tuple[Job, Record, Outcome]], run: Run) -> tuple[Row, ...]:
    """Bring the runs of one system and number of shots together."""
    groups: dict[tuple[str, str, int, str], list[tuple[Job, Record, Outcome]]] = {}
    for job, record, outcome in done:
        row = job.method.card.slug, job.variant, job.shots, job.folder
        groups.setdefault(row, []).append((job, record, outcome))
    base = groups.get((*BASE, 0, ""))
    seed = run.integer("bootstrap")
    rows = []
    for (slug, variant, shots, _), group in groups.items():
        outcomes = tuple(outcome for _, _, outcome in group)
        gain = p = None
        if base is not None and group is not base:
            right = hits(outcomes)
            right_of_base = np.broadcast_to(hits([base[0][2]]), right.shape)
            gain, p = item_gain(right, right_of_base, seed), item_gain_p(right, right_of_base, seed)
        records = tuple(record for _, record, _ in group)
        rows.append(Row(group[0][0].label, slug, variant, shots, records, outcomes, intervals(outcomes), gain, p, p))
    return _corrected(rows)


def best(rows: Sequence[Row]) -> Row | None:
    """Return the row that is right most often on the held items; those of test are not used.

    Args:
        rows: of one board. Between equals the earlier one: fewer shots first, then the order of the board.

    Returns:
        The row, of those that had not seen the items if there are any; None where nothing was held back.
    """
    return max(
        (row for row in rows if row.held), key=lambda row: (not row.held["seen"], row.held["acc1"]), default=None
    )


def _corrected(rows: Sequence[Row]) -> tuple[Row, ...]:
    adjusted = iter(holm([row.p for row in rows if row.p is not None]))
    return tuple(row if row.p is None else replace(row, p=next(adjusted)) for row in rows)


def _mean(tables: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Average the numbers that all tables hold; truth values are True where any is."""
    names = [name for name in tables[0] if all(isinstance(t.get(name), (int, float)) for t in tables)]
    return {
        n: any(t[n] for t in tables) if isinstance(tables[0][n], bool) else float(np.mean([t[n] for t in tables]))
        for n in names
    }
