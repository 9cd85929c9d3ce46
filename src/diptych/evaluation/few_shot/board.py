"""Every fitting system on one data set, with the same draws, the same choices rule and intervals, beside the plain
baseline.

Each finished row lies in ``out/rows`` before the next begins, and is taken from there when its inputs hash the same: an
interrupted board goes on where it stopped. Choices are made on val only; test items are seen by ``scores`` alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych.core import Backbone, ClassNames, DataError, Run, Table, UnreadableItem, UsageError
from diptych.data.files import plain, read_json, write_json
from diptych.data.labelled import LabelledData
from diptych.data.words.pools import Pool
from diptych.evaluation.arms import Loaded
from diptych.evaluation.few_shot.episodes import measured
from diptych.evaluation.few_shot.export import export_row
from diptych.evaluation.few_shot.gains import BASE, Row, best, rows_of
from diptych.evaluation.few_shot.inputs import readable_hash
from diptych.evaluation.few_shot.plan import MODEL, Job, Plan
from diptych.evaluation.few_shot.rows import Desk
from diptych.evaluation.few_shot.unlabelled import Unlabelled
from diptych.evaluation.few_shot.work import at, jobs_of
from diptych.evaluation.kept import Unwritten
from diptych.evaluation.schedule import Limits, work
from diptych.tasks.classify import with_store
from diptych.tasks.record import Record, engine_of, machine, now, precision_of, threads, versions, write_csv


@dataclass(frozen=True)
class Board:
    """A finished or interrupted board.

    Args:
        data: the data set; ``test``: its readable items that were measured, of the split ``measured``.
        source: what ``open_data`` was given; ``data_hash``: of files and labels.
        spec: the backbone as data; ``fingerprint``: of its weights, tokenizer and pixel recipe.
        rows: in the order of the catalog, then shots.
        missing: row label -> why it could not run.
        late: row label -> what the budget or the time-out left out.
        skipped: unreadable items of test and of the draws, as sentences; ``failed``: as errors.
        interrupted: whether Ctrl-C ended it.
        encode: seconds and vectors of this run's encoding: "images", "image_seconds", "text_seconds".
        device, threads, versions, machine, command, date: where, how and when.
        precision, engine: what made the vectors, see ``record.precision_of``; ``precision_asked``: see ``Record``.
        texts: the pool that systems which read texts were given; None: there was none.
        unlabelled: images without labels that were given apart; None: there were none, or those of train.
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
    late: Mapping[str, str]
    skipped: tuple[str, ...]
    interrupted: bool
    encode: Mapping[str, float]
    device: str
    precision: str
    precision_asked: str
    engine: str
    command: str
    threads: int = field(default_factory=threads)
    versions: Mapping[str, str] = field(default_factory=versions)
    machine: str = field(default_factory=machine)
    date: str = field(default_factory=now)
    texts: Pool | None = None
    unlabelled: Unlabelled | None = None
    failed: tuple[UnreadableItem, ...] = ()

    @property
    def records(self) -> list[Record]:
        """All runs."""
        return [record for row in self.rows for record in row.records]

    def base(self) -> Row | None:
        """Return the zero-shot ensemble, if it was run."""
        return next((r for r in self.rows if (r.method, r.variant) == BASE), None)

    @property
    def complete(self) -> bool:
        """Whether nothing was cut short, by Ctrl-C, the budget or a time-out."""
        return not self.interrupted and not self.late

    def reasons(self) -> dict[str, list[str]]:
        """Return why rows are missing or late -> their labels."""
        labels: dict[str, list[str]] = {}
        for label, reason in (*self.missing.items(), *self.late.items()):
            labels.setdefault(reason, []).append(label)
        return labels

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

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        apart = self.unlabelled
        own = (
            "source",
            "data_hash",
            "measured",
            "spec",
            "fingerprint",
            "missing",
            "late",
            "skipped",
            "complete",
            "encode",
            "device",
            "precision",
            "precision_asked",
        )
        return plain(
            {
                "kind": "board",
                "verb": "classify",
                "dataset": self.data.name,
                "items": len(self.test),
                "classnames": self.classes.names,
                "templates": self.classes.templates,
                "template_hash": self.classes.template_hash,
                "shots": self.plan.shots,
                "seeds": self.plan.seeds,
                "val": self.plan.val,
                "texts": self.texts.as_dict() if self.texts else None,
                "unlabelled": {"source": apart.source, "hash": apart.hash, "images": len(apart.items)}
                if apart
                else None,
                "budget": self.plan.budget,
                "timeout": self.plan.timeout,
                "choice": self.choice,
                **{
                    name: getattr(self, name)
                    for name in (*own, "engine", "threads", "versions", "machine", "command", "date")
                },
                "rows": [row.as_dict() for row in self.rows],
            }
        )

    def write(self, out: Path) -> None:
        """Write board.json and board.csv over those of an earlier run of the same board."""
        write_json(out / "board.json", self.as_dict(), overwrite=True)
        write_csv(out / "board.csv", self.records, overwrite=True)


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
        expect(run.out / "board.json", data, source)
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
            faults=(Unwritten,),
            limits=Limits(plan.budget, plan.timeout, began),
            missing=missing,
        )
        rows = rows_of([(job, *result) for job, result, _ in worked.done], run)
        able = [r for r in rows if not r.fitted and export in ("best", r.method)]
        chosen = best(able) or next((r for r in reversed(able) if r.method == export), None)
        if export and chosen and run.out:
            export_row(desk, chosen, run.out / MODEL)
    made = Board(
        data, desk.test, split, desk.source, desk.data_hash, desk.classes, backbone.spec.as_dict(),
        backbone.fingerprint, plan,
        rows, worked.missing, worked.late, tuple(map(str, desk.failed.values())), worked.interrupted, desk.encode,
        run.device, precision_of(backbone, run), run.precision, engine_of(backbone, run), command, texts=desk.texts,
        unlabelled=unlabelled, failed=tuple(desk.failed.values()),
    )  # fmt: skip
    if run.out:
        made.write(run.out)
    return made


def expect(path: Path, data: LabelledData, source: str) -> None:
    """Refuse a board of another verb, or of data from another source that hold other files.

    Raises:
        UsageError: it is one, or no board at all.
    """
    if not path.exists():
        return
    try:
        held = read_json(path)
    except DataError:
        held = {}
    if held.get("kind") != "board":
        raise UsageError(f"{path} is no board: give another {{out}} or {{overwrite}}.")
    if held.get("verb") != "classify":
        raise UsageError(f"{path} is a board of {held.get('verb')}: give another {{out}} or {{overwrite}}.")
    if held.get("source") != (source or data.name) and held.get("data_hash") != readable_hash(data):
        raise UsageError(
            f"{path} is a board of {held.get('source')}, not {source}: give another {{out}} or {{overwrite}}."
        )


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
