"""Every fitting system on one data set, with the same draws, the same choices rule and intervals, beside the plain
baseline.

Each finished row lies in ``out/rows`` before the next begins, and is taken from there when its inputs hash the same: an
interrupted board goes on where it stopped. Choices are made on val only; test items are seen by ``scores`` alone.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych import catalog
from diptych.core import Backbone, Classifier, ClassNames, DataError, Run, Table, UsageError
from diptych.data.files import plain
from diptych.data.labelled import LabelledData
from diptych.data.words.pools import Pool
from diptych.evaluation.arms import Loaded
from diptych.evaluation.board import BoardOf, expect
from diptych.evaluation.few_shot.episodes import measured
from diptych.evaluation.few_shot.gains import BASE, Row, best, rows_of
from diptych.evaluation.few_shot.held import apart
from diptych.evaluation.few_shot.inputs import readable_hash
from diptych.evaluation.few_shot.plan import MODEL, Job, Plan
from diptych.evaluation.few_shot.rows import Desk
from diptych.evaluation.few_shot.unlabelled import Unlabelled
from diptych.evaluation.few_shot.work import at, jobs_of
from diptych.evaluation.measure import evaluate
from diptych.evaluation.schedule import Limits, work
from diptych.tasks.calibrate import Calibration
from diptych.tasks.classify import with_store
from diptych.tasks.model import Predictor
from diptych.tasks.record import Record


@dataclass(frozen=True)
class Board(BoardOf[Row]):
    """A board of classifiers, in the order of the catalog, then of shots.

    Args:
        data: the data set.
        test: its readable items that were measured.
        classes: names and templates.
        plan: what was run.
        texts: the pool that systems which read texts were given; None: there was none.
    """

    data: LabelledData
    test: Table[Any]
    classes: ClassNames
    plan: Plan
    texts: Pool | None = None

    @property
    def records(self) -> list[Record]:
        """All runs."""
        return [record for row in self.rows for record in row.records]

    def base(self) -> Row | None:
        """Return the zero-shot ensemble, if it was run."""
        return next((r for r in self.rows if (r.method, r.variant) == BASE), None)

    @cached_property
    def best(self) -> Row | None:
        """The row that is right most often on held items; None where there are none."""
        return None if self.plan.val == "none" else best(self.rows)

    @property
    def choice(self) -> dict[str, Any] | None:
        """The recommended row as plain data: what it was chosen by, then what it reached on test."""
        row = self.best
        if row is None:
            return None
        return {
            **{name: getattr(row, name) for name in ("label", "method", "variant", "shots")},
            "chosen_on": {"acc1": row.held["acc1"], "items": row.held["items"], "seen_by_fit": bool(row.held["seen"])},
            "test": {"acc1": row.metrics["acc1"], "ci95": row.ci95["acc1"]},
        }

    def row(self, row: Row) -> dict[str, Any]:
        """Return plain data of a row."""
        return row.as_dict()

    def lines(self, row: Row) -> list[dict[str, Any]]:
        """Return a line for each seed."""
        return [record.row() for record in row.records]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {**super().as_dict(), "choice": plain({"choice": self.choice})["choice"]}


def board(
    data: LabelledData,
    backbone: Backbone,
    run: Run,
    plan: Plan = Plan(),  # noqa: B008
    *,
    classes: ClassNames | None = None,
    texts: Pool | None = None,
    unlabelled: Unlabelled | None = None,
    loaded: Sequence[Loaded] = (),
    export: str | None = None,
    source: str = "",
    command: str = "",
    overwrite: bool = False,
) -> Board:
    """Run every fitting classifier on one data set.

    Args:
        data: with test (or val) and, for rows that learn, train.
        backbone: for all rows.
        run: device, precision, cache and progress; ``run.out`` keeps finished rows, None keeps nothing.
        plan: methods, shots, seeds and the rule for val.
        classes: names and templates; None: tidied folder names in the ensemble of seven templates.
        texts: descriptions for the systems that read them; None: the pool that ships for a data set of this name, if
            there is one.
        unlabelled: images for systems that learn without labels, see ``Unlabelled.open``; None: those of the train
            split, whose labels they never see.
        loaded: classifiers that were fitted before, see ``few_shot.loaded``: each is a row that is measured on test as
            it is. It is never recommended or exported, since it may have learnt from the photos apart from test.
        export: writes a fitted system to ``run.out / "model"``: "best" is the row chosen on held items, a slug its best
            row by them.
        source: what ``open_data`` was given; stands in the results.
        command: the command line that repeats the run; stands in the results.
        overwrite: write over a board of another verb or data set; one of the same data is gone on with in any case.

    Returns:
        The board; not ``complete`` where Ctrl-C, the budget or a time-out ended it early.

    Raises:
        UsageError: another number of names than classes, an unknown method, an export of what is not on the board, or
            ``run.out`` holds a board of another verb or data set.
        DataError: nothing can be measured.
    """
    if run.out and not overwrite:
        facts = {"source": source or data.name, "data_hash": readable_hash(data)}
        expect(run.out, "classify", facts, whole=True)
    split = measured(data)
    jobs, missing = jobs_of(plan, data, loaded)
    _check_export(export, [job for job in jobs if job.loaded is None], data, split, run)
    began = time.monotonic()
    with with_store(run) as stored:
        desk = Desk.open(
            data,
            backbone,
            plan,
            stored,
            classes=classes,
            texts=texts,
            unlabelled=unlabelled,
            jobs=jobs,
            source=source,
            command=command,
        )
        worked = work(
            jobs,
            desk.row,
            stored,
            label=lambda job: job.label,
            at=at,
            always=lambda job: job.method.card.slug == BASE[0],
            limits=Limits(plan.budget, plan.timeout, began),
            missing=missing,
        )
        rows = rows_of([(job, *result) for job, result, _ in worked.done], run)
        able = [r for r in rows if not r.fitted and export in ("best", r.method)]
        chosen = best(able) or next((r for r in reversed(able) if r.method == export), None)
        if export and chosen and run.out:
            export_row(desk, chosen, run.out / MODEL)
    result = Board(
        "classify", rows, worked.missing, worked.late, worked.interrupted, tuple(desk.failed.values()),
        desk.facts(split), data, desk.test, desk.classes, plan, desk.texts,
    )  # fmt: skip
    if run.out:
        result.write(run.out, overwrite=True)
    return result


def _check_export(export: str | None, jobs: Sequence[Job], data: LabelledData, split: str, run: Run) -> None:
    if export is None:
        return
    if run.out is None:
        raise UsageError("An export needs a folder: give the run an out folder.")
    if export == "best" and not (set(data.splits) - {split}):
        raise UsageError(
            f"{data.name} has only the {split} split, so there is nothing to choose on: export a system by name, such "
            f"as zero-shot."
        )
    if export != "best" and export not in {job.method.card.slug for job in jobs}:
        raise UsageError(
            f"{export!r} is not on this board: export best, or one of "
            f"{', '.join(dict.fromkeys(j.method.card.slug for j in jobs))}."
        )


STATED = (
    "dataset", "source", "data_hash", "method", "variant", "shots", "seed", "val", "texts", "texts_hash",
    "template_hash", "held",
)  # fmt: skip
"""What a model says of the row that it was: protocol, hashes and choices; its numbers on test stand apart."""


def export_row(desk: Desk, row: Row, folder: Path) -> None:
    """Fit a row of a board again, with its first seed, calibrate it, measure what is exported, and write it.

    Where val is all that is left beside the shots (rule "full"), half of it is for the choices of fit, and the other
    for calibration. A model that was exported there before is replaced.

    Raises:
        UsageError: the folder holds something else than a model.
    """
    job = Job(
        catalog.row(catalog.find(row.method, Classifier), row.variant), row.variant, row.shots, row.records[0].seed
    )
    run = replace(desk.run, seed=job.seed)
    drawn = desk.drawn(job, run) if job.shots else None
    evidence = desk.evidence(job, drawn)
    held = desk.held.of(job.seed if job.draws else desk.plan.seeds[0])
    evidence, seen = apart(job.method, evidence, held)
    fitted = desk.fit(job, evidence, run)
    calibration = None
    if held is not None:
        with contextlib.suppress(DataError):  # no held item has its true class among the candidates
            calibration = Calibration.of(
                fitted.checked_scores(held.items, run), desk.backbone, held.labels(), seen=seen
            )
    about, sets = desk.about(job, evidence, drawn), [] if held is None else [held]
    record, _ = evaluate(fitted, desk.test, run, backbone=desk.backbone, about=about, held=sets, seen=seen)
    facts = record.as_dict()
    stated = {
        **{name: facts[name] for name in STATED},
        "test": {"metrics": facts["metrics"], "ci95": facts["ci95"], "items": facts["items"]},
    }
    Predictor(fitted, calibration, desk.backbone, stated).save(folder, overwrite=True)
