"""A board of any verb: every fitting system on the same items with the same seeds, and what each gains over one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from diptych.core import UsageError
from diptych.evaluation.arms import Arm, Bench, Measured, Statistic, of_part
from diptych.evaluation.board import BoardOf, measured
from diptych.evaluation.boards.rows import Rows
from diptych.metrics.estimate import Interval
from diptych.tasks.record import circumstances


@dataclass(frozen=True)
class Scored:
    """One metric of one system.

    Args:
        value: with its 95 % interval over items and seeds.
        gain: over the base row, paired by seed and item; None for that row, or where it could not run.
        p: two-sided p-value of the gain, not corrected; None without a gain, or where the statistic has none.
    """

    value: Interval
    gain: Interval | None
    p: float | None = None

    @classmethod
    def of(cls, statistic: Statistic, values: Any, base: Any, seed: int) -> Scored:
        """Return what a statistic makes of the values of a system, and of those of the base row, or None."""
        value = statistic.of(values, seed)
        if base is None:
            return cls(value, None)
        p = None if statistic.p is None else statistic.p(values, base, seed)
        return cls(value, statistic.gain(values, base, seed), p)

    def as_dict(self, metric: str) -> dict[str, Any]:
        """Return plain data for JSON."""
        gain: dict[str, Any] | None = None
        if self.gain is not None:
            gain = {metric: self.gain.value, "ci95": [self.gain.low, self.gain.high]}
            gain |= {} if self.p is None else {"p": self.p}
        return {metric: self.value.value, "ci95": [self.value.low, self.value.high], "gain": gain}


@dataclass(frozen=True)
class BoardRow:
    """One system over all seeds.

    Args:
        parts: name -> what else was measured of items, such as hits on other data.
        seconds: mean wall seconds of fitting and measuring, a seed.
    """

    arm: Arm
    score: Scored
    others: Mapping[str, float]
    seeds: tuple[int, ...]
    seconds: float
    parts: Mapping[str, Scored] = field(default_factory=dict)

    @property
    def value(self) -> Interval:
        """The metric with its interval."""
        return self.score.value

    @property
    def gain(self) -> Interval | None:
        """The gain of the metric."""
        return self.score.gain

    @property
    def label(self) -> str:
        """What ``--methods`` takes."""
        return self.arm.label

    def as_dict(self, metric: str) -> dict[str, Any]:
        """Return plain data for JSON."""
        length: dict[str, Any] = {"length": self.arm.length} if self.arm.length else {}
        length |= {"fitted": self.arm.loaded.as_dict()} if self.arm.loaded else {}
        parts = {"parts": {name: part.as_dict("value") for name, part in self.parts.items()}} if self.parts else {}
        return {
            "method": self.arm.system,
            "variant": self.arm.variant,
            **length,
            **self.score.as_dict(metric),
            **self.others,
            **parts,
            "seeds": self.seeds,
            "seconds": round(self.seconds, 3),
        }


class VerbBoard(BoardOf[BoardRow]):
    """A board of the systems of a verb, best first."""

    @property
    def metric(self) -> str:
        """Name of the metric."""
        return str(self.facts["metric"])

    @property
    def others(self) -> tuple[str, ...]:
        """Names of the further numbers that rows have."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.others))

    def row(self, row: BoardRow) -> dict[str, Any]:
        """Return plain data of a system."""
        return row.as_dict(self.metric)

    def lines(self, row: BoardRow) -> list[dict[str, Any]]:
        """Return one line: the system, the metric and its gain with their intervals, and further numbers."""
        arms = [r.arm for r in self.rows]
        named = {"length": row.arm.length} if any(arm.length for arm in arms) else {}
        if any(arm.loaded for arm in arms):
            named["fitted"] = row.arm.loaded.folder if row.arm.loaded else ""
        value, gain = row.value, row.gain
        scored: dict[str, Any] = {
            self.metric: value.value,
            f"{self.metric}_low": value.low,
            f"{self.metric}_high": value.high,
        }
        for end, name in (("", "value"), ("_low", "low"), ("_high", "high")):
            scored[f"{self.metric}_gain{end}"] = "" if gain is None else getattr(gain, name)
        further = {name: row.others.get(name, "") for name in self.others}
        about = {"method": row.arm.system, "variant": row.arm.variant}
        return [{**about, **named, **scored, **further, "seconds": round(row.seconds, 3)}]


def _base(bench: Bench, arm: Arm) -> Arm:
    """Return the row that the gains of a row are measured against: the first of its own length, or the first."""
    return next((base for base in bench.always if base.length == arm.length), bench.always[0])


def _values(result: Measured, name: str) -> Any:
    """Return the values of a part; None where there are none."""
    part = result.parts.get(name)
    return None if part is None else part.values


def verb_board(
    verb: str,
    bench: Bench,
    arms: Sequence[Arm],
    *,
    budget: float | None = None,
    keep: Path | None = None,
    command: str = "",
) -> VerbBoard:
    """Measure every arm, after the rows that are always run.

    A finished row lies in ``keep/rows`` before the next begins, and is read from there where its inputs are the same: a
    board that was killed goes on where it stopped.

    Args:
        verb: what the systems do.
        bench: measures them.
        arms: what to run.
        budget: seconds for all rows; those of ``bench.always`` run in any case. None: no end.
        keep: folder of the board; None: no row is kept.
        command: the command line that repeats the run.

    Raises:
        UsageError: there are no seeds, or no seconds.
        Unwritten: a finished row cannot be kept, such as on a full disk.
        KeyboardInterrupt: before any row was finished.
    """
    if not bench.seeds:
        raise UsageError("A board takes at least one seed, got none: give {seeds}, such as 1,2,3.")
    every = list(dict.fromkeys([*bench.always, *arms]))
    worked = measured(
        every, Rows(bench, keep).measure, bench.run, label=lambda arm: arm.label, always=bench.always, budget=budget
    )
    seed = bench.run.integer("bootstrap")
    results = {arm: row.result for arm, row, _ in worked.done}
    rows = []
    for arm, row, _ in worked.done:
        result, over = row.result, _base(bench, arm)
        plain = None if arm == over else results.get(over)
        score = Scored.of(bench.statistic, result.values, None if plain is None else plain.values, seed)
        parts = {
            name: Scored.of(statistic, part.values, None if plain is None else _values(plain, name), seed)
            for name, part in result.parts.items()
            if (statistic := of_part(part)) and not np.array_equal(part.values, result.values)  # the metric
        }
        seconds = row.seconds / max(len(result.seeds), 1)
        rows.append(BoardRow(arm, score, result.others, result.seeds, seconds, parts))
    about = {
        "metric": bench.metric,
        "base": replace(bench.always[0], length="").label,
        "seeds": list(bench.seeds),
        "budget": budget,
    }
    facts = {**bench.facts, **about, **circumstances(bench.backbone, bench.run, command)}
    ordered = tuple(sorted(rows, key=lambda r: -r.value.value))
    return VerbBoard(verb, ordered, worked.missing, worked.late, worked.interrupted, tuple(bench.failed), facts)
