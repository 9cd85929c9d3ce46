"""One row of a board: one system at one number of shots with one seed, from draw to written result."""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Evidence, Samples, Subset, Table
from diptych.core.errors import DamagedStore, DataError, UnreadableItem, UsageError
from diptych.core.kit import Kit
from diptych.core.method import Classifier, FittedClassifier
from diptych.core.run import Run
from diptych.data.classnames import tidy
from diptych.data.labelled import LabelledData
from diptych.data.pools import Pool, pool_of
from diptych.data.splits import ValRule
from diptych.data.templates import ENSEMBLE
from diptych.data.views import TIP_VIEWS
from diptych.features.embed import embed_readable
from diptych.features.heads import text_head
from diptych.tasks.classify import About, evaluate
from diptych.tasks.episodes import Episode, episode, held_out, measured, readable
from diptych.tasks.outcome import Outcome
from diptych.tasks.record import Record, engine_of, read_json, versions, write_json
from diptych.tasks.unlabelled import Unlabelled, key_of, smallest

HELD = 16
"""Items a class, at most, that no system sees: rows are compared and calibrated on them."""


@dataclass(frozen=True)
class Plan:
    """What a board runs.

    Args:
        methods: slugs; None: all systems of the verb "classify".
        shots: shots a class.
        seeds: of the draws and of everything a system draws.
        val: "coop" chooses on min(shots, 4) val items a class, "full" on all of them.
        budget: seconds for the whole board, encoding included: then no run begins and the running one is stopped. None: no end. The
            zero-shot rows, which all others are measured against, are always run.
        timeout: seconds that all runs of one system with one set of parameters may take together; None: no end.
    """

    methods: tuple[str, ...] | None = None
    shots: tuple[int, ...] = (1, 4, 16)
    seeds: tuple[int, ...] = (1, 2, 3)
    val: ValRule = "coop"
    budget: float | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        if self.val not in ("coop", "full"):
            raise UsageError(f"{self.val!r} is no rule for val: choose 'coop' or 'full'.")
        for name, seconds in (("budget", self.budget), ("timeout", self.timeout)):
            if seconds is not None and seconds <= 0:
                raise UsageError(f"The {name} is a number of seconds above 0, not {seconds}.")
        if not self.shots or min(self.shots) < 1:
            raise UsageError("Shots are whole numbers from 1: give some, such as 1,4,16.")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UsageError("Give at least one seed, and each only once, such as 1,2,3.")


@dataclass(frozen=True)
class Job:
    """One run of one system.

    Args:
        method: the system with its parameters.
        variant: its row on the board.
        shots: 0 where it sees no labels.
        seed: 0 where it draws nothing.
    """

    method: Classifier
    variant: str
    shots: int
    seed: int

    @property
    def label(self) -> str:
        """What the row is called."""
        return f"{self.method.card.name}, {self.variant}" if self.variant else self.method.card.name


@dataclass
class Desk:
    """Where the rows of one board are worked: what all share, the draws made so far, and the broken items met."""

    data: LabelledData
    test: Table[Any]
    classes: ClassNames
    backbone: Backbone
    plan: Plan
    run: Run
    data_hash: str
    source: str
    command: str
    encode: dict[str, float]
    failed: dict[str, UnreadableItem]
    texts: Pool | None = None
    unlabelled: Unlabelled | None = None
    episodes: dict[tuple[int, int], Episode] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        data: LabelledData,
        backbone: Backbone,
        plan: Plan,
        run: Run,
        *,
        classes: ClassNames | None = None,
        texts: Pool | None = None,
        unlabelled: Unlabelled | None = None,
        source: str = "",
        command: str = "",
    ) -> Desk:
        """Encode what is measured and the class texts; see ``tasks.board.board`` for the arguments.

        Raises:
            UsageError: another number of names than classes.
            DataError: nothing can be measured.
        """
        names = classes or ClassNames(tuple(tidy(c) for c in data.classes) or ("",), tuple(ENSEMBLE))
        if len(names) != len(data.classes):
            raise UsageError(f"There are {len(names)} names for {len(data.classes)} classes: give one name a class.")
        start = time.perf_counter()
        test, failed = readable(data.splits[measured(data)], backbone, run)
        encode = {"images": float(run.tally["encoded"]), "image_seconds": time.perf_counter() - start}
        start = time.perf_counter()
        text_head(backbone, names.prompts(), run)
        encode["text_seconds"] = time.perf_counter() - start
        return cls(
            data, test, names, backbone, plan, run, _hash(data), source or data.name, command, encode, {e.name: e for e in failed},
            texts or pool_of(data.name), unlabelled,
        )  # fmt: skip

    def path(self, job: Job) -> Path | None:
        """Return the file of a job's result, whose name holds the hash of its inputs; None where nothing is kept."""
        if self.run.out is None:
            return None
        stem = "-".join(p for p in (job.method.card.slug, job.variant, f"{job.shots}shot", f"seed{job.seed}", self._inputs(job)[:12]) if p)
        return self.run.out / "rows" / f"{stem}.json"

    def row(self, job: Job) -> tuple[Record, Outcome]:
        """Return the result of a job, from its file where that has the same inputs."""
        path = self.path(job)
        if path and path.exists():
            try:
                kept = Record.from_dict(read_json(path))
                for name in kept.skipped:
                    item, _, reason = name.rpartition(": ")
                    self.failed.setdefault(item, UnreadableItem(item, reason))
                return kept, Outcome.load(path.with_suffix(".npz"))
            except (DataError, DamagedStore):
                pass  # a damaged row is run again
        run = replace(self.run, seed=job.seed)
        drawn = self.drawn(job, run) if job.shots else None
        evidence = self.evidence(job, drawn)
        start = time.perf_counter()
        fitted = self.fit(job, evidence, run)
        seconds = {"encode": drawn.seconds if drawn else self.encode["image_seconds"], "fit": time.perf_counter() - start}
        held, seen = self.held(drawn)
        record, outcome = evaluate(
            fitted, self.test, run, backbone=self.backbone, about=self.about(job, evidence, drawn), seconds=seconds, held=held, seen=seen
        )
        if path:
            outcome.save(path.with_suffix(".npz"))  # before the JSON, whose presence says that the row is done
            write_json(path, record.as_dict(), overwrite=True)
        return record, outcome

    def fit(self, job: Job, evidence: Evidence[Any], run: Run) -> FittedClassifier:
        """Fit the system of a job."""
        return job.method.fit(Kit({"main": self.backbone}), self.classes, evidence, run)

    def about(self, job: Job, evidence: Evidence[Any], drawn: Episode | None) -> About:
        """Return what the record of a job says besides its numbers."""
        pool = self._pool(job)
        apart = self.unlabelled if "unlabelled" in job.method.card.needs.evidence else None
        return About(
            dataset=self.data.name,
            source=self.source,
            data_hash=self.data_hash,
            method=job.method.card.slug,
            variant=job.variant,
            shots=job.shots,
            seed=job.seed,
            val=self.plan.val if job.shots else "",
            texts=pool.source if pool else "",
            texts_hash=pool.hash if pool else "",
            unlabelled=apart.source if apart else "",
            unlabelled_hash=apart.hash if apart else "",
            images=sum(len(part) for part in (evidence.train, evidence.val, evidence.unlabelled) if part is not None),
            extra_texts=sum(len(texts) for texts in evidence.texts.texts.values()) if evidence.texts else 0,
            command=self.command,
            skipped=tuple(str(e) for e in (drawn.failed if drawn else self.failed.values())),
        )

    def evidence(self, job: Job, drawn: Episode | None) -> Evidence[Any]:
        """Return all that a job may see."""
        pool = self._pool(job)
        return Evidence(
            train=drawn.train if drawn else None,
            val=drawn.val if drawn else None,
            unlabelled=self._images if "unlabelled" in job.method.card.needs.evidence else None,
            texts=pool.texts if pool else None,
        )

    def held(self, drawn: Episode | None) -> tuple[Table[Any] | None, bool]:
        """Return labelled items apart from test, and whether fit saw them: those held back, or val where nothing is left beside it."""
        if drawn is not None:
            return (drawn.held, False) if drawn.held is not None else (drawn.val, True)
        return self._held, False

    @cached_property
    def _held(self) -> Table[Any] | None:
        run = replace(self.run, seed=self.plan.seeds[0])
        table, failed = held_out(self.data, HELD, run.integer("shots"), self.backbone, run)
        self.failed |= {e.name: e for e in failed}
        return table

    @cached_property
    def _images(self) -> Samples[Any] | None:
        """The images of train, or those that were given apart, without their labels."""
        given = self.unlabelled.items if self.unlabelled else None
        if given is None and "train" in self.data.splits:
            given = self.data.splits["train"].items
        if given is None or not len(given):
            return None
        start, before = time.perf_counter(), self.run.tally["encoded"]
        few = smallest(given)
        found = embed_readable(self.backbone.image, few, self.run)
        self.failed |= {e.name: e for e in found.failed}
        self.encode["images"] += self.run.tally["encoded"] - before
        self.encode["image_seconds"] += time.perf_counter() - start
        return Subset(few, tuple(int(i) for i in found.kept))

    def _pool(self, job: Job) -> Pool | None:
        """Return the text pool for systems that read one."""
        needs = job.method.card.needs
        return self.texts if "texts" in (*needs.evidence, *needs.optional) else None

    def drawn(self, job: Job, run: Run) -> Episode:
        """Return the draw of a job, all of it encoded."""
        start, before = time.perf_counter(), run.tally["encoded"]
        place = (job.shots, job.seed)
        if place not in self.episodes:
            self.episodes[place] = episode(self.data, job.shots, run.integer("shots"), self.plan.val, self.backbone, run, held=HELD)
        drawn = self.episodes[place]
        views = getattr(job.method, "views", 0)
        if views:  # encoded before the clock of fit starts, and only for the shots
            embed_readable(self.backbone.image, drawn.train.items, run, views=replace(TIP_VIEWS, draws=views))
        seconds = time.perf_counter() - start
        self.failed |= {e.name: e for e in drawn.failed}
        self.encode["images"] += run.tally["encoded"] - before
        self.encode["image_seconds"] += seconds
        return replace(drawn, seconds=seconds)

    def _inputs(self, job: Job) -> str:
        """Return the hash of all that decides a row's numbers; the code of the system is part of it."""
        module = inspect.getmodule(type(job.method))
        pool = self._pool(job)
        facts = {
            "method": job.method.card.slug,
            "parameters": repr(job.method),
            "code": hashlib.sha256(inspect.getsource(module).encode()).hexdigest() if module else "",
            "versions": {name: version for name, version in versions().items() if name in ("diptych", "torch")},
            "classes": [self.classes.names, self.classes.templates],
            "data": self.data_hash,
            "texts": pool.hash if pool else "",
            "backbone": self.backbone.fingerprint,
            "unlabelled": self.unlabelled.hash if self.unlabelled and "unlabelled" in job.method.card.needs.evidence else "",
            "held": HELD,
            "run": [
                job.shots,
                job.seed,
                self.plan.val if job.shots else "",
                self.run.precision,
                self.run.device,
                engine_of(self.backbone, self.run),
            ],
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _hash(data: LabelledData) -> str:
    """Return the hash of what can be read: a table may name files that are not there."""
    try:
        return data.hash
    except UnreadableItem:
        splits = {name: table.take([i for i in range(len(table)) if key_of(table.items, i)]) for name, table in data.splits.items()}
        return replace(data, splits=splits).hash
