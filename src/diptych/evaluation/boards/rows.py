"""The rows of one board of a verb, each of which lies in ``rows`` of the board's folder before the next begins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from diptych import catalog
from diptych.core import DamagedStore, DataError, UsageError
from diptych.data.files import read_json, refuse, write_json
from diptych.evaluation.arms import Arm, Bench, Measured, of_part
from diptych.evaluation.few_shot.inputs import code_of
from diptych.evaluation.kept import described, digest, kept, write_arrays
from diptych.tasks.record import engine_of, versions

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
        return kept(self.path(arm), _load, lambda: self._measured(arm), _save)

    def path(self, arm: Arm) -> Path | None:
        """Return the file of an arm, whose name holds the hash of all that decides its numbers."""
        if self.out is None:
            return None
        kind, settings = None, ""
        if arm.system in catalog.slugs():
            kind = catalog.find(arm.system)
            settings = arm.loaded.sha256 if arm.loaded else repr(catalog.row(kind, arm.variant))
        code = [code_of(type(self.bench)), code_of(kind) if kind else ""]
        inputs = digest([self._inputs, arm.label, settings, code])
        more = arm.length.replace(" ", "-"), "loaded" if arm.loaded else ""
        name = "-".join(filter(None, (arm.system, arm.variant, *more)))
        return self.out / "rows" / f"{name.replace('/', '_')[:100]}-{inputs[:12]}.json"

    @cached_property
    def _inputs(self) -> object:
        """What all rows depend on."""
        used = {name: version for name, version in versions().items() if name in ("diptych", "torch")}
        engine = engine_of(self.bench.backbone, self.bench.run)
        return described([self.bench, self.bench.run, engine, used])

    def _measured(self, arm: Arm) -> Timed:
        start = monotonic()
        result = self.bench.measure(arm)
        parts = {n: replace(p, others={}) for n, p in result.parts.items() if of_part(p)}
        return Timed(Measured(result.values, result.others, result.seeds, parts), monotonic() - start)


def _save(path: Path, row: Timed) -> None:
    every = row.result.parts.items()
    parts = {f"{COUNTED if part.counted else PART}{name}": part.values for name, part in every}
    write_arrays(path.with_suffix(".npz"), {"values": row.result.values, **parts})
    data = {"others": dict(row.result.others), "seeds": list(row.result.seeds), "seconds": row.seconds}
    write_json(path, data, overwrite=True)


def _load(path: Path) -> Timed:
    data = read_json(path)
    try:
        others = {name: math.nan if value is None else float(value) for name, value in data["others"].items()}
        seeds = tuple(data["seeds"])
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as file:
            parts = {
                n.removeprefix(kind): Measured(file[n], {}, seeds, counted=kind == COUNTED)
                for kind in (PART, COUNTED)
                for n in file.files
                if n.startswith(kind)
            }
            return Timed(Measured(file["values"], others, seeds, parts), float(data["seconds"]))
    except Exception as error:  # np.load raises OSError, ValueError, KeyError, BadZipFile, EOFError ...
        raise DamagedStore(f"{path} does not hold a row of a board: delete it and run again.") from error


def expect(out: Path, verb: str, facts: Mapping[str, Any] | None = None) -> None:
    """Refuse to write over a board, unless it was cut short: the same command then goes on with it. Once the bench is
    open, its facts show whether the data are the same.

    Raises:
        UsageError: there is a whole board, one of another verb or other data, or another file of its name.
    """
    path, table = out / "board.json", out / "board.csv"
    if not path.exists():
        refuse(table, False)
        return
    try:
        before = read_json(path)
    except DataError:
        before = {}
    if (before.get("kind"), before.get("verb"), before.get("complete")) != ("board", verb, False):
        refuse(path, False)
    if facts is not None and any(before.get(name) != facts.get(name) for name in ("dataset", "data_hash")):
        data, given = before.get("dataset"), facts.get("dataset")
        what = f"data named {data} that have changed since" if data == given else f"{data}, not {given}"
        raise UsageError(f"{path} is a board of {what}: give another {{out}} or {{overwrite}}.")
