"""One row of a board: one system at one number of shots with one seed, from draw to written result."""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from dataclasses import dataclass, field, replace
from typing import Any

from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Evidence, Table
from diptych.core.errors import DamagedStore, DataError, UnreadableItem, UsageError
from diptych.core.kit import Kit
from diptych.core.method import Classifier
from diptych.core.run import Run
from diptych.data.labelled import LabelledData
from diptych.data.pools import Pool
from diptych.data.splits import ValRule
from diptych.data.views import TIP_VIEWS
from diptych.features.embed import embed_readable
from diptych.tasks.classify import About, evaluate
from diptych.tasks.episodes import Episode, episode
from diptych.tasks.outcome import Outcome
from diptych.tasks.record import Record, read_json, versions, write_json


@dataclass(frozen=True)
class Plan:
    """What a board runs.

    Args:
        methods: slugs; None: all systems of the verb "classify".
        shots: shots a class.
        seeds: of the draws and of everything a system draws.
        val: "coop" chooses on min(shots, 4) val items a class, "full" on all of them.
    """

    methods: tuple[str, ...] | None = None
    shots: tuple[int, ...] = (1, 4, 16)
    seeds: tuple[int, ...] = (1, 2, 3)
    val: ValRule = "coop"

    def __post_init__(self) -> None:
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
    episodes: dict[tuple[int, int], Episode] = field(default_factory=dict)

    def row(self, job: Job) -> tuple[Record, Outcome]:
        """Return the result of a job, from its file where that has the same inputs."""
        inputs = self._inputs(job)
        out = self.run.out
        card = job.method.card
        stem = "-".join(p for p in (card.slug, job.variant, f"{job.shots}shot", f"seed{job.seed}", inputs[:12]) if p)
        if out and (out / "rows" / f"{stem}.json").exists():
            try:
                kept = Record.from_dict(read_json(out / "rows" / f"{stem}.json"))
                for name in kept.skipped:
                    path, _, reason = name.rpartition(": ")
                    self.failed.setdefault(path, UnreadableItem(path, reason))
                return kept, Outcome.load(out / "rows" / f"{stem}.npz")
            except (DataError, DamagedStore):
                pass  # a damaged row is run again
        run = replace(self.run, seed=job.seed)
        drawn = self._episode(job, run) if job.shots else None
        evidence: Evidence[Any] = Evidence() if drawn is None else Evidence(train=drawn.train, val=drawn.val)
        pool = self._pool(job)
        if pool:
            evidence = replace(evidence, texts=pool.texts)
        start = time.perf_counter()
        fitted = job.method.fit(Kit({"main": self.backbone}), self.classes, evidence, run)
        seconds = {"encode": drawn.seconds if drawn else self.encode["image_seconds"], "fit": time.perf_counter() - start}
        about = About(
            dataset=self.data.name,
            source=self.source,
            data_hash=self.data_hash,
            method=card.slug,
            variant=job.variant,
            shots=job.shots,
            seed=job.seed,
            val=self.plan.val if job.shots else "",
            texts=pool.source if pool else "",
            texts_hash=pool.hash if pool else "",
            command=self.command,
            skipped=tuple(str(e) for e in (drawn.failed if drawn else self.failed.values())),
        )
        record, outcome = evaluate(fitted, self.test, run, backbone=self.backbone, about=about, seconds=seconds)
        if out:
            outcome.save(out / "rows" / f"{stem}.npz")  # before the JSON, whose presence says that the row is done
            write_json(out / "rows" / f"{stem}.json", record.as_dict(), overwrite=True)
        return record, outcome

    def _pool(self, job: Job) -> Pool | None:
        """Return the text pool for systems that read one."""
        needs = job.method.card.needs
        return self.texts if "texts" in (*needs.evidence, *needs.optional) else None

    def _episode(self, job: Job, run: Run) -> Episode:
        start, before = time.perf_counter(), run.tally["encoded"]
        place = (job.shots, job.seed)
        if place not in self.episodes:
            self.episodes[place] = episode(self.data, job.shots, run.integer("shots"), self.plan.val, self.backbone, run)
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
            "run": [job.shots, job.seed, self.plan.val if job.shots else "", self.run.precision, self.run.device],
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
