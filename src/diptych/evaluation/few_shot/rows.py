"""One row of a board: one system at one number of shots with one seed, from draw to written result."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych.core import (
    Backbone,
    ClassNames,
    Evidence,
    FittedClassifier,
    Kit,
    Run,
    Samples,
    Subset,
    Table,
    UnreadableItem,
    UsageError,
)
from diptych.data.labelled import LabelledData
from diptych.data.views import TIP_VIEWS
from diptych.data.words.classnames import tidy
from diptych.data.words.pools import Pool, pool_of
from diptych.data.words.templates import ENSEMBLE
from diptych.evaluation.few_shot.episodes import Episode, episode, measured, readable
from diptych.evaluation.few_shot.held import HELD, Held, apart, keys_of, reserved
from diptych.evaluation.few_shot.inputs import code_of, readable_hash
from diptych.evaluation.few_shot.plan import Job, Plan
from diptych.evaluation.few_shot.unlabelled import Unlabelled, smallest
from diptych.evaluation.kept import read_or_measure, row_file
from diptych.evaluation.measure import evaluate
from diptych.evaluation.outcome import Outcome
from diptych.features.embed import embed_readable
from diptych.features.heads import text_head
from diptych.tasks.record import About, Record, circumstances, deciding_versions, engine_of


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
    shots: tuple[int, ...] = ()
    pooled: bool = False
    episodes: dict[tuple[int, int], Episode] = field(default_factory=dict)
    learnt: dict[tuple[str, int, int], dict[str, tuple[Any, float]]] = field(default_factory=dict)

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
        jobs: Sequence[Job] = (),
        source: str = "",
        command: str = "",
    ) -> Desk:
        """Encode what is measured and the class texts; see ``evaluation.few_shot.board.board``, and what its jobs
        decide about the held items.

        Raises:
            UsageError: another number of names than classes.
            DataError: nothing can be measured.
        """
        names = classes or ClassNames(tuple(tidy(c) for c in data.classes) or ("",), tuple(ENSEMBLE))
        if len(names) != len(data.classes):
            raise UsageError(f"There are {len(names)} names for {len(data.classes)} classes: give one name per class.")
        start = time.perf_counter()
        test, failed = readable(data.splits[measured(data)], backbone, run)
        encode = {"images": float(run.tally["encoded"]), "image_seconds": time.perf_counter() - start}
        start = time.perf_counter()
        text_head(backbone, names.prompts(), run)
        encode["text_seconds"] = time.perf_counter() - start
        return cls(
            data, test, names, backbone, plan, run, readable_hash(data), source or data.name, command, encode,
            {e.name: e for e in failed},
            texts or pool_of(data.name), unlabelled, tuple(sorted({j.shots for j in jobs} - {0})),
            any(j.pooled for j in jobs),
        )  # fmt: skip

    def facts(self, split: str) -> dict[str, Any]:
        """Return what a board says beside its rows, as plain data; its items are those of ``split``."""
        plan, apart = self.plan, self.unlabelled
        given = {"source": apart.source, "hash": apart.hash, "images": len(apart.items)} if apart else None
        where = circumstances(self.backbone, self.run, self.command)
        del where["backbone"]  # the specification says more
        return {
            "dataset": self.data.name, "items": len(self.test), "classnames": self.classes.names,
            "templates": self.classes.templates, "template_hash": self.classes.template_hash,
            **{name: getattr(plan, name) for name in ("shots", "seeds", "val", "budget", "timeout")},
            "texts": self.texts.as_dict() if self.texts else None, "unlabelled": given, "source": self.source,
            "data_hash": self.data_hash, "measured": split, "spec": self.backbone.spec.as_dict(),
            "encode": self.encode, **where,
        }  # fmt: skip

    def path(self, job: Job) -> Path | None:
        """Return the file of a job's result, whose name holds the hash of its inputs; None where nothing is kept."""
        drawn = ("loaded",) if job.loaded else (f"{job.shots}shot", f"seed{job.seed}")
        return self.run.out and row_file(self.run.out, (job.method.card.slug, job.variant, *drawn), self._inputs(job))

    def row(self, job: Job) -> tuple[Record, Outcome]:
        """Return the result of a job, from its file where that has the same inputs.

        Raises:
            Unwritten: the system refuses to keep it.
        """
        return read_or_measure(self.path(job), lambda: self._measure(job), _to_file, self._of_file)

    def _of_file(self, data: dict[str, Any], arrays: dict[str, Any]) -> tuple[Record, Outcome]:
        record, outcome = Record.from_dict(data), Outcome(**{**arrays, "classes": int(arrays["classes"])})
        for name in record.skipped:
            item, _, reason = name.rpartition(": ")
            self.failed.setdefault(item, UnreadableItem(item, reason))
        return record, outcome

    def _measure(self, job: Job) -> tuple[Record, Outcome]:
        run = replace(self.run, seed=job.seed)
        if job.loaded is not None:  # it may have learnt from the photos apart from test
            about = replace(self.about(job, Evidence(), None), fitted=job.loaded.as_dict())
            seconds = {"encode": self.encode["image_seconds"]}
            return evaluate(job.loaded.fitted, self.test, run, backbone=self.backbone, about=about, seconds=seconds)
        drawn = self.drawn(job, run) if job.shots else None
        evidence = self.evidence(job, drawn)
        learner = job.method.card.slug, job.shots, job.seed
        self.learnt = {learner: self.learnt.get(learner, {})}  # one at a time: the rows of a system come in turn
        run = replace(run, learnt=self.learnt[learner])
        texts, saved, start = run.tally["text_us"], run.tally["saved_us"], time.perf_counter()
        fitted = self.fit(job, evidence, run)
        elapsed, on_texts = time.perf_counter() - start, (run.tally["text_us"] - texts) / 1e6
        seconds = {
            "encode": drawn.seconds if drawn else self.encode["image_seconds"],
            "fit": elapsed - on_texts + (run.tally["saved_us"] - saved) / 1e6,  # as if no other row had been fitted
        }
        held = [self.held.of(seed) for seed in ((job.seed,) if job.draws else self.plan.seeds)]
        less, seen = apart(job.method, evidence, held[0])
        return evaluate(
            fitted, self.test, run, backbone=self.backbone, about=self.about(job, evidence, drawn),
            seconds={**seconds, "texts": on_texts},
            held=[part for part in held if part is not None], seen=seen,
            by=None if less is evidence else self.fit(job, less, run),
        )  # fmt: skip

    def fit(self, job: Job, evidence: Evidence[Any], run: Run) -> FittedClassifier:
        """Fit the system of a job."""
        return job.method.fit(Kit({"main": self.backbone}), self.classes, evidence, run)

    def about(self, job: Job, evidence: Evidence[Any], drawn: Episode | None) -> About:
        """Return what the record of a job says besides its numbers."""
        pool = self.pool(job)
        given = self.unlabelled if job.pooled else None
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
            unlabelled=given.source if given else "",
            unlabelled_hash=given.hash if given else "",
            images=sum(len(part) for part in (evidence.train, evidence.val, evidence.unlabelled) if part is not None),
            extra_texts=sum(len(texts) for texts in evidence.texts.texts.values()) if evidence.texts else 0,
            command=self.command,
            skipped=tuple(str(e) for e in (drawn.failed if drawn else self.failed.values())),
        )

    def evidence(self, job: Job, drawn: Episode | None) -> Evidence[Any]:
        """Return all that a job may see."""
        pool = self.pool(job)
        return Evidence(
            train=drawn.train if drawn else None,
            val=drawn.val if drawn and self.plan.val != "none" else None,
            unlabelled=self.images if job.pooled else None,
            texts=pool.texts if pool else None,
        )

    @cached_property
    def held(self) -> Held:
        """The labelled items apart from test, by seed."""
        return Held(self.data, self.shots, self._draw, self.backbone, self.run, self._broken, self.reserved)

    @cached_property
    def reserved(self) -> frozenset[str] | None:
        """Content keys of held items, which no label-free system is given; None: it is given none of that split."""
        given = self._given if self.pooled else None
        return None if given is None else reserved(self.data, given)

    @property
    def _given(self) -> Samples[Any] | None:
        """The images of train, or those that were given apart."""
        if self.unlabelled:
            return self.unlabelled.items
        return self.data.splits["train"].items if "train" in self.data.splits else None

    @cached_property
    def images(self) -> Samples[Any] | None:
        """What label-free systems learn from: images without their labels, none of which is measured or held."""
        if self._given is None:
            return None
        few = smallest(self._given, without=keys_of(self.test.items) | (self.reserved or frozenset()))
        with self._encoding():
            embedded = embed_readable(self.backbone.image, few, self.run)
        self._broken(embedded.failed)
        return Subset(few, tuple(int(i) for i in embedded.kept)) if len(embedded.kept) else None

    def _broken(self, failed: Sequence[UnreadableItem]) -> None:
        self.failed |= {e.name: e for e in failed}

    def pool(self, job: Job) -> Pool | None:
        """Return the text pool for systems that read one to be fitted."""
        needs = job.method.card.needs
        return self.texts if job.loaded is None and "texts" in (*needs.evidence, *needs.optional) else None

    def drawn(self, job: Job, run: Run) -> Episode:
        """Return the draw of a job, all of it encoded."""
        start = time.perf_counter()
        drawn = self._draw(job.shots, run)
        views = getattr(job.method, "views", 0)
        if views:  # encoded before the clock of fit starts, and only for the shots
            with self._encoding():
                embed_readable(self.backbone.image, drawn.train.items, run, views=replace(TIP_VIEWS, draws=views))
        self._broken(drawn.failed)
        return replace(drawn, seconds=time.perf_counter() - start)

    @contextlib.contextmanager
    def _encoding(self) -> Iterator[None]:
        """Count what is encoded, and its seconds."""
        start, before = time.perf_counter(), self.run.tally["encoded"]
        yield
        self.encode["images"] += self.run.tally["encoded"] - before
        self.encode["image_seconds"] += time.perf_counter() - start

    def _draw(self, shots: int, run: Run) -> Episode:
        place = (shots, run.seed)
        if place not in self.episodes:
            seed, within = run.integer("shots"), self.reserved
            with self._encoding():
                drawn = episode(self.data, shots, seed, self.plan.draws, self.backbone, run, held=HELD, within=within)
            self.episodes[place] = drawn
        return self.episodes[place]

    def _inputs(self, job: Job) -> str:
        """Return the hash of all that decides a row's numbers; the code of the system is part of it."""
        pool = self.pool(job)
        facts = {
            "method": job.method.card.slug,
            "parameters": [job.loaded.folder, job.loaded.sha256] if job.loaded else repr(job.method),
            "code": code_of(type(job.method)),
            "versions": deciding_versions(),
            "classes": [self.classes.names, self.classes.templates],
            "data": self.data_hash,
            "texts": pool.hash if pool else "",
            "backbone": self.backbone.fingerprint,
            "unlabelled": self.unlabelled.hash if self.unlabelled and job.pooled else "",
            "held": [HELD, self.shots, self.pooled, () if job.draws else self.plan.seeds],
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


def _to_file(result: tuple[Record, Outcome]) -> tuple[dict[str, Any], dict[str, Any]]:
    record, outcome = result
    return record.as_dict(), vars(outcome)
