"""A board of any verb: every fitting system on the same items with the same seeds, and what each gains over one row."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diptych import catalog
from diptych.core.backbone import Backbone
from diptych.core.errors import MissingEvidence, MissingExtra, MissingHook, MissingPart, UsageError
from diptych.core.run import Run
from diptych.metrics.interval import Interval, bootstrap_mean, paired_bootstrap
from diptych.tasks.record import circumstances, plain, write_json

Floats = NDArray[np.float64]
Job = tuple[str, str]
"""Slug and row of its card; a bench may have jobs of its own, such as what was there before a training."""


@dataclass(frozen=True)
class Measured:
    """What one system reached.

    Args:
        values: (R, N) of the metric, R seeds on the same N items.
        others: further numbers, means over seeds.
    """

    values: Floats
    others: Mapping[str, float] = field(default_factory=dict)


class Bench(Protocol):
    """How the systems of one verb are measured on one data set."""

    @property
    def metric(self) -> str:
        """Name of the metric, of which higher is better."""
        ...

    @property
    def base(self) -> Job:
        """The row that gains are measured against; it is run always."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the result says of the data: name, hash, items."""
        ...

    def measure(self, slug: str, variant: str) -> Measured:
        """Fit and measure a system; raises MissingHook, MissingPart, MissingExtra or MissingEvidence where it does not fit."""
        ...


@dataclass(frozen=True)
class Row:
    """One system over all seeds.

    Args:
        job: slug and row of its card.
        value: mean of the metric, with its 95 % interval over items and seeds.
        gain: over the base row, paired by seed and item; None for that row, or where it could not run.
        others: further numbers.
        seconds: wall seconds of fitting and measuring, all seeds together.
    """

    job: Job
    value: Interval
    gain: Interval | None
    others: Mapping[str, float]
    seconds: float

    @property
    def label(self) -> str:
        """What ``--methods`` takes."""
        return called(self.job)


@dataclass(frozen=True)
class VerbBoard:
    """All rows, best first, and why others did not run."""

    verb: str
    metric: str
    rows: tuple[Row, ...]
    missing: Mapping[str, str]
    facts: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""

        def row(r: Row) -> dict[str, Any]:
            gain = None if r.gain is None else {self.metric: r.gain.value, "ci95": [r.gain.low, r.gain.high]}
            own = {self.metric: r.value.value, "ci95": [r.value.low, r.value.high], "gain": gain, **r.others}
            return {"method": r.job[0], "variant": r.job[1], **own, "seconds": round(r.seconds, 3)}

        found: dict[str, Any] = plain(
            {"kind": "board", "verb": self.verb, **self.facts, "missing": self.missing, "rows": [row(r) for r in self.rows]}
        )
        return found

    def write(self, out: Path, *, overwrite: bool = False) -> None:
        """Write board.json; raises UsageError where it exists and ``overwrite`` is False."""
        write_json(out / "board.json", self.as_dict(), overwrite=overwrite)


def called(job: Job) -> str:
    """Return "slug" or "slug:variant"."""
    return ":".join(filter(None, job))


def jobs_of(verb: str, methods: Sequence[str] | None) -> list[Job]:
    """Return what is to be run: the default row of every system of a verb, or the systems named, "slug" or "slug:variant".

    Raises:
        UsageError: there is no such system, it is of another verb, or has no such row.
    """
    if methods is None:
        return [(card["slug"], "") for card in catalog.cards() if card["verb"] == verb]
    jobs = []
    for name in methods:
        slug, _, variant = name.partition(":")
        card = catalog.find(slug).card
        if card.verb != verb:
            raise UsageError(f"{slug} is no system of {verb}: see 'diptych systems --verb {verb}'.")
        if variant not in card.variants:
            held = ", ".join(v or "(none)" for v in card.variants)
            raise UsageError(f"{slug} has no variant {variant!r}, only {held}.")
        jobs.append((slug, variant))
    return jobs


def over_seeds(once: Callable[[Run], tuple[Floats, Mapping[str, float]]], run: Run, seeds: Sequence[int], *, draws: bool) -> Measured:
    """Measure once a seed; where nothing is drawn, once for all.

    Args:
        once: run -> (N,) values and further numbers.
        run: its seed is replaced.
        seeds: R of them.
        draws: whether the seed changes anything.
    """
    found = [once(replace(run, seed=seed)) for seed in (seeds if draws else seeds[:1])]
    values = np.stack([np.asarray(v, dtype=np.float64) for v, _ in found])
    means = {name: float(np.mean([others[name] for _, others in found])) for name in found[0][1]}
    return Measured(np.repeat(values, len(seeds), axis=0) if len(found) < len(seeds) else values, means)


def verb_board(
    verb: str, bench: Bench, jobs: Sequence[Job], backbone: Backbone, run: Run, *, seeds: Sequence[int], command: str = ""
) -> VerbBoard:
    """Run every job, the base row first.

    Args:
        verb: what the systems do.
        bench: measures them.
        jobs: what to run.
        backbone: for all rows.
        run: progress, and the seed of the bootstrap.
        seeds: that the bench runs.
        command: the command line that repeats the run.

    Raises:
        UsageError: there are no seeds.
    """
    if not seeds:
        raise UsageError("A board takes at least one seed: give --seeds 1,2,3.")
    found: dict[Job, tuple[Measured, float]] = {}
    missing: dict[str, str] = {}
    every = list(dict.fromkeys([bench.base, *jobs]))
    with run.track("rows", len(every)) as bar:
        for job in every:
            start = time.perf_counter()
            try:
                found[job] = bench.measure(*job), time.perf_counter() - start
            except (MissingHook, MissingPart, MissingExtra, MissingEvidence) as error:
                missing[called(job)] = str(error)
            bar.advance()
    seed, base = run.integer("bootstrap"), found.get(bench.base)
    rows = [
        Row(
            job,
            bootstrap_mean(own.values, seed),
            None if base is None or job == bench.base else paired_bootstrap(own.values, base[0].values, seed),
            own.others,
            seconds,
        )
        for job, (own, seconds) in found.items()
    ]
    facts = {**bench.facts, "metric": bench.metric, "seeds": list(seeds), **circumstances(backbone, run, command)}
    return VerbBoard(verb, bench.metric, tuple(sorted(rows, key=lambda r: -r.value.value)), missing, facts)
