"""The rows of one board of a verb, each of which lies in ``rows`` of the board's folder before the next begins."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any

from diptych import catalog
from diptych.evaluation.arms import Arm, Bench, Measured, of_part
from diptych.evaluation.few_shot.inputs import code_of
from diptych.evaluation.kept import described, digest, read_or_measure, row_file
from diptych.tasks.record import deciding_versions, engine_of

PART, COUNTED = "part ", "counted "
"""Before the names of parts in a row's file of numbers, and of those that are cases and hits."""


@dataclass(frozen=True)
class Timed:
    """A measured arm.

    Args:
        result: with those of its parts that have a number for each seed and item.
        seconds: that fitting and measuring took.
    """

    result: Measured
    seconds: float


@dataclass(frozen=True)
class Rows:
    """Measures the arms of a bench, or reads what an earlier run measured of the same.

    Args:
        out: folder of the board; None: no row is kept.
    """

    bench: Bench
    out: Path | None = None

    def measure(self, arm: Arm) -> Timed:
        """Return the result of an arm, from its file where that has the same inputs.

        Raises:
            Unwritten: it cannot be kept.
        """
        return read_or_measure(self.path(arm), lambda: self._measured(arm), _to_file, _of_file)

    def path(self, arm: Arm) -> Path | None:
        """Return the file of an arm, whose name holds the hash of all that decides its numbers."""
        if self.out is None:
            return None
        kind, settings = None, ""
        if arm.system in catalog.slugs():
            kind = catalog.find(arm.system)
            settings = arm.loaded.sha256 if arm.loaded else repr(catalog.row(kind, arm.variant))
        code = [code_of(type(self.bench)), code_of(kind) if kind else ""]
        stem = arm.system, arm.variant, arm.length.replace(" ", "-"), "loaded" if arm.loaded else ""
        return row_file(self.out, stem, digest([self._inputs, arm.label, settings, code]))

    @cached_property
    def _inputs(self) -> object:
        """What all rows depend on."""
        engine = engine_of(self.bench.backbone, self.bench.run)
        return described([self.bench, self.bench.run, engine, deciding_versions()])

    def _measured(self, arm: Arm) -> Timed:
        start = monotonic()
        result = self.bench.measure(arm)
        parts = {n: replace(p, others={}) for n, p in result.parts.items() if of_part(p)}
        return Timed(Measured(result.values, result.others, result.seeds, parts), monotonic() - start)


def _to_file(row: Timed) -> tuple[dict[str, Any], dict[str, Any]]:
    every = row.result.parts.items()
    parts = {f"{COUNTED if part.counted else PART}{name}": part.values for name, part in every}
    data = {"others": dict(row.result.others), "seeds": list(row.result.seeds), "seconds": row.seconds}
    return data, {"values": row.result.values, **parts}


def _of_file(data: dict[str, Any], arrays: dict[str, Any]) -> Timed:
    others = {name: math.nan if value is None else float(value) for name, value in data["others"].items()}
    seeds = tuple(data["seeds"])
    parts = {
        name.removeprefix(kind): Measured(values, {}, seeds, counted=kind == COUNTED)
        for kind in (PART, COUNTED)
        for name, values in arrays.items()
        if name.startswith(kind)
    }
    return Timed(Measured(arrays["values"], others, seeds, parts), float(data["seconds"]))
