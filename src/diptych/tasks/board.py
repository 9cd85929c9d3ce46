"""Every fitting system on one data set, with the same draws, the same choices rule and intervals, beside the plain baseline.

Each finished row lies in ``out/rows`` before the next begins, and is taken from there when its inputs hash the same: an interrupted
board goes on where it stopped. Choices are made on val only; test items are seen by ``scores`` alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from diptych import catalog
from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Table
from diptych.core.errors import MissingEvidence, MissingExtra, MissingHook, MissingPart, UnreadableItem, UsageError
from diptych.core.method import Classifier
from diptych.core.run import Run
from diptych.data.classnames import tidy
from diptych.data.labelled import LabelledData
from diptych.data.pools import Pool, pool_of
from diptych.data.templates import ENSEMBLE
from diptych.features.heads import text_head
from diptych.metrics.interval import Interval, paired_bootstrap
from diptych.tasks.classify import with_store
from diptych.tasks.episodes import measured, readable
from diptych.tasks.outcome import Outcome, hits, intervals, mean_metrics
from diptych.tasks.record import Record, machine, now, plain, threads, versions, write_csv, write_json
from diptych.tasks.rows import Desk, Job, Plan

BASE = ("zero-shot", "ensemble")
"""The row that gains are measured against."""


@dataclass(frozen=True)
class Row:
    """A system at a number of shots, over all seeds.

    Args:
        label: what a reader calls it; ``method`` and ``variant``: what the catalog does.
        shots: 0 where it sees no labels.
        records: one a seed.
        outcomes: one a seed.
        ci95: metric -> 95 % interval, bootstrap over items and seeds.
        gain: in top-1 over the zero-shot ensemble, paired by item; None for that row itself, or where it was not run.
    """

    label: str
    method: str
    variant: str
    shots: int
    records: tuple[Record, ...]
    outcomes: tuple[Outcome, ...]
    ci95: Mapping[str, tuple[float, float]]
    gain: Interval | None

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Metrics averaged over seeds."""
        return mean_metrics(self.outcomes)

    def seconds(self, part: str) -> float:
        """Return the mean wall seconds of "fit" or "predict"."""
        return float(np.mean([r.seconds.get(part, 0.0) for r in self.records]))

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "label": self.label,
            "method": self.method,
            "variant": self.variant,
            "shots": self.shots,
            "seeds": [r.seed for r in self.records],
            "metrics": self.metrics,
            "ci95": dict(self.ci95),
            "gain": None if self.gain is None else {"acc1": self.gain.value, "ci95": [self.gain.low, self.gain.high]},
            "seconds": {"fit": self.seconds("fit"), "predict": self.seconds("predict")},
            "peak_memory_mib": max(r.peak_memory_mib for r in self.records),
        }


@dataclass(frozen=True)
class Board:
    """A finished or interrupted board.

    Args:
        data: the data set; ``test``: its readable items that were measured, of the split ``measured``.
        source: what ``open_data`` was given; ``data_hash``: of files and labels.
        classes: names and templates.
        spec: the backbone as data; ``fingerprint``: of its weights, tokenizer and pixel recipe.
        plan: what was asked for.
        rows: in the order of the catalog, then shots.
        missing: row label -> why it could not run.
        skipped: unreadable items of test and of the draws.
        complete: False where it was interrupted.
        encode: seconds and vectors of this run's encoding: "images", "image_seconds", "text_seconds".
        device, precision, threads, versions, machine, command, date: where, how and when.
        texts: the pool that systems which read texts were given; None: there was none.
    """

    data: LabelledData
    test: Table[Any]
    measured: str
    source: str
    data_hash: str
    classes: ClassNames
    spec: Mapping[str, Any]
    fingerprint: str
    plan: Plan
    rows: tuple[Row, ...]
    missing: Mapping[str, str]
    skipped: tuple[str, ...]
    complete: bool
    encode: Mapping[str, float]
    device: str
    precision: str
    command: str
    threads: int = field(default_factory=threads)
    versions: Mapping[str, str] = field(default_factory=versions)
    machine: str = field(default_factory=machine)
    date: str = field(default_factory=now)
    texts: Pool | None = None

    @property
    def records(self) -> list[Record]:
        """All runs."""
        return [record for row in self.rows for record in row.records]

    def base(self) -> Row | None:
        """Return the zero-shot ensemble, if it was run."""
        return next((r for r in self.rows if (r.method, r.variant) == BASE), None)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        own = ("source", "data_hash", "measured", "spec", "fingerprint", "missing", "skipped", "complete", "encode", "device", "precision")
        shown: dict[str, Any] = plain(
            {
                "kind": "board",
                "dataset": self.data.name,
                "items": len(self.test),
                "classnames": self.classes.names,
                "templates": self.classes.templates,
                "template_hash": self.classes.template_hash,
                "shots": self.plan.shots,
                "seeds": self.plan.seeds,
                "val": self.plan.val,
                "texts": self.texts.as_dict() if self.texts else None,
                **{name: getattr(self, name) for name in (*own, "threads", "versions", "machine", "command", "date")},
                "rows": [row.as_dict() for row in self.rows],
            }
        )
        return shown

    def write(self, out: Path) -> None:
        """Write board.json and board.csv over those of an earlier run of the same board."""
        write_json(out / "board.json", self.as_dict(), overwrite=True)
        write_csv(out / "board.csv", self.records, overwrite=True)


def board(
    data: LabelledData,
    backbone: Backbone,
    run: Run,
    plan: Plan = Plan(),  # noqa: B008  frozen
    *,
    classes: ClassNames | None = None,
    texts: Pool | None = None,
    source: str = "",
    command: str = "",
) -> Board:
    """Run every fitting classifier on one data set.

    Args:
        data: with test (or val) and, for rows that learn, train.
        backbone: for all rows.
        run: device, precision, cache and progress; ``run.out`` keeps finished rows, None keeps nothing.
        plan: methods, shots, seeds and the rule for val.
        classes: names and templates; None: tidied folder names in the ensemble of seven templates.
        texts: descriptions for the systems that read them; None: the pool that ships for a data set of this name, if there is one.
        source: what ``open_data`` was given; stands in the results.
        command: the command line that repeats the run; stands in the results.

    Returns:
        The board; not ``complete`` where Ctrl-C ended it early.

    Raises:
        UsageError: another number of names than classes, or an unknown method.
        DataError: nothing can be measured.
    """
    names = classes or ClassNames(tuple(tidy(c) for c in data.classes) or ("",), tuple(ENSEMBLE))
    if len(names) != len(data.classes):
        raise UsageError(f"There are {len(names)} names for {len(data.classes)} classes: give one name a class.")
    split = measured(data)
    jobs, missing = _jobs(plan, data)
    pool = texts or pool_of(data.name)
    with with_store(run) as stored:
        start = time.perf_counter()
        test, failed = readable(data.splits[split], backbone, stored)
        encode = {"images": float(stored.tally["encoded"]), "image_seconds": time.perf_counter() - start}
        start = time.perf_counter()
        text_head(backbone, names.prompts(), stored)
        encode["text_seconds"] = time.perf_counter() - start
        desk = Desk(
            data, test, names, backbone, plan, stored, _hash(data), source or data.name, command, encode, {e.name: e for e in failed}, pool
        )
        done: list[tuple[Job, Record, Outcome]] = []
        complete = True
        try:
            with stored.track("rows", len(jobs)) as bar:
                for job in jobs:
                    try:
                        done.append((job, *desk.row(job)))
                    except (MissingHook, MissingPart, MissingExtra, MissingEvidence) as error:
                        missing[job.label] = str(error)
                    bar.advance()
        except KeyboardInterrupt:
            complete = False
    made = Board(
        data, test, split, desk.source, desk.data_hash, names, backbone.spec.as_dict(), backbone.fingerprint, plan,
        _rows(done, run), missing, tuple(str(e) for e in desk.failed.values()), complete, encode, run.device, run.precision, command,
        texts=pool,
    )  # fmt: skip
    if run.out:
        made.write(run.out)
    return made


def _jobs(plan: Plan, data: LabelledData) -> tuple[list[Job], dict[str, str]]:
    """Return the runs, and the rows that this data set cannot have."""
    slugs = plan.methods or tuple(card["slug"] for card in catalog.cards() if card["verb"] == "classify")
    jobs: list[Job] = []
    missing: dict[str, str] = {}
    for slug in slugs:
        found = catalog.find(slug)
        if not issubclass(found, Classifier):
            raise UsageError(f"{slug} is no classifier: see 'diptych systems --verb classify'.")
        for variant, parameters in found.card.variants.items():
            method = found(**parameters)
            learns = "train" in found.card.needs.evidence
            if learns and "train" not in data.splits:
                missing[Job(method, variant, 0, 0).label] = f"{data.name} has no train split to learn from."
                continue
            jobs += [Job(method, variant, s, seed) for s in (plan.shots if learns else (0,)) for seed in (plan.seeds if learns else (0,))]
    order = {slug: i for i, slug in enumerate(slugs)}
    return sorted(jobs, key=lambda j: (j.shots > 0, order[j.method.card.slug] if j.shots == 0 else j.shots, j.seed)), missing


def _hash(data: LabelledData) -> str:
    """Return the hash of what can be read: a table may name files that are not there."""
    try:
        return data.hash
    except UnreadableItem:
        splits = {name: table.take([i for i in range(len(table)) if _has_key(table, i)]) for name, table in data.splits.items()}
        return replace(data, splits=splits).hash


def _has_key(table: Table[Any], i: int) -> bool:
    try:
        return bool(table.items.key(i))
    except UnreadableItem:
        return False


def _rows(done: Sequence[tuple[Job, Record, Outcome]], run: Run) -> tuple[Row, ...]:
    """Bring the runs of one system and number of shots together."""
    groups: dict[tuple[str, str, int], list[tuple[Job, Record, Outcome]]] = {}
    for job, record, outcome in done:
        groups.setdefault((job.method.card.slug, job.variant, job.shots), []).append((job, record, outcome))
    base = groups.get((*BASE, 0))
    seed = run.integer("bootstrap")
    rows = []
    for (slug, variant, shots), group in groups.items():
        outcomes = tuple(outcome for _, _, outcome in group)
        gain = None
        if base is not None and group is not base:
            own = hits(outcomes)
            gain = paired_bootstrap(own, np.broadcast_to(hits([base[0][2]]), own.shape), seed)
        records = tuple(record for _, record, _ in group)
        rows.append(Row(group[0][0].label, slug, variant, shots, records, outcomes, intervals(outcomes, seed=seed), gain))
    return tuple(rows)
