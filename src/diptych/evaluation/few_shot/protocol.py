"""The few-shot protocol of the field in one piece: shots, base to new classes, other data sets, shifted test sets.

Everything that is finished lies in the results folder and is taken from there when its inputs hash the same. A system
that learns and cannot score other classes (its heads or caches belong to those it was fitted on) has no place in
base-to-new and cross-data-set, as in the papers; one that sees no labels is asked anew, unless it learns from photos,
which show none of the other classes. There, base classes included, a system is fitted as its ``transferable`` says.
Texts are those of the classes asked; the names of the new classes are told in training to systems that list
``other_classes`` on their card, for their papers do so.

Source: CoOp (IJCV 2022), section 4 (shots, shifted ImageNets); CoCoOp (CVPR 2022), section 4 (base to new, cross data
    set, harmonic mean).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from diptych.core import Backbone, ClassNames, Column, DataError, Run, Table, UsageError
from diptych.data.files import plain, write_json
from diptych.data.labelled import LabelledData
from diptych.data.splits import base_and_new, of_classes
from diptych.data.words.classnames import tidy
from diptych.data.words.pools import VERSUS, Pool, pool_of
from diptych.data.words.templates import ENSEMBLE
from diptych.evaluation.board import by_reason
from diptych.evaluation.few_shot.board import Board, board
from diptych.evaluation.few_shot.data_sets import BASE, CROSS, NEW, SHIFT, Hits, Place, measure
from diptych.evaluation.few_shot.episodes import measured, readable
from diptych.evaluation.few_shot.plan import Job, Plan
from diptych.evaluation.few_shot.rows import Desk
from diptych.evaluation.few_shot.work import jobs_of
from diptych.metrics.estimate import Interval
from diptych.metrics.two_way import item_mean
from diptych.tasks.classify import with_store
from diptych.tasks.record import now


@dataclass(frozen=True)
class Reach:
    """One system in one place.

    Args:
        kind, name: see ``Place``.
        accuracy: top-1, with its interval over items and seeds.
    """

    label: str
    method: str
    variant: str
    shots: int
    kind: str
    name: str
    accuracy: Interval

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        plain_fields = {k: v for k, v in vars(self).items() if k != "accuracy"}
        return {**plain_fields, "acc1": self.accuracy.value, "ci95": [self.accuracy.low, self.accuracy.high]}


@dataclass(frozen=True)
class Protocol:
    """All parts.

    Args:
        board: accuracy against shots.
        reaches: base, new, other data sets and shifted test sets, at most shots.
        missing: row label, with place and seed where only these are concerned -> why there is no result.
        complete: False where Ctrl-C ended it.
    """

    board: Board
    reaches: tuple[Reach, ...]
    missing: Mapping[str, str]
    complete: bool
    command: str = ""
    date: str = field(default_factory=now)

    def harmonic(self) -> dict[str, tuple[float, float, float]]:
        """Return (base, new, harmonic mean) accuracy of each system that has both, by label."""
        table: dict[str, dict[str, float]] = {}
        for r in self.reaches:
            table.setdefault(r.label, {})[r.kind] = r.accuracy.value
        return {
            label: (t[BASE], t[NEW], 2 * t[BASE] * t[NEW] / max(t[BASE] + t[NEW], 1e-12))
            for label, t in table.items()
            if BASE in t and NEW in t
        }

    def reasons(self) -> dict[str, list[str]]:
        """Return why results of base, new, other data sets and shifted test sets are missing -> their labels."""
        return by_reason(self.missing)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        names = ("complete", "missing", "command", "date")
        return plain(
            {
                "kind": "protocol",
                **{name: getattr(self, name) for name in names},
                "harmonic": {
                    label: dict(zip(("base", "new", "harmonic"), v, strict=True))
                    for label, v in self.harmonic().items()
                },
                "reaches": [r.as_dict() for r in self.reaches],
                "board": self.board.as_dict(),
            }
        )


def protocol(
    data: LabelledData,
    backbone: Backbone,
    run: Run,
    plan: Plan,
    *,
    cross: Sequence[LabelledData] = (),
    shifted: Sequence[LabelledData] = (),
    texts: Pool | None = None,
    source: str = "",
    command: str = "",
    overwrite: bool = False,
) -> Protocol:
    """Run the protocol; see the module.

    Args:
        data: with train and test (or val).
        backbone: for all.
        run: device, cache, progress; ``run.out`` keeps what is finished.
        plan: systems, shots, seeds; base-to-new and transfers use the most shots.
        cross: other data sets, with classes of their own.
        shifted: test sets of the same classes (found by name; all or some of them) that look different.
        texts: descriptions for the systems that read them; None: the pool that ships for a data set of this name, if
            there is one. Other data sets take it if it names all their classes, or else the pool that ships for them.
        source: what ``open_data`` was given.
        command: the command line that repeats it.
        overwrite: write over the results of another data set; those of the same data are gone on with in any case.

    Raises:
        UsageError: no results folder, too few classes for base and new, or two other data sets of one name.
        DataError: no train split, a shifted set without a class of the data, or nothing to measure.
    """
    if run.out is None:
        raise UsageError("The protocol needs a results folder: give the run an out folder.")
    if len(data.classes) < 4:
        raise UsageError(f"{data.name} has {len(data.classes)} classes: base and new need at least 2 each.")
    data.split("train")
    for others in (cross, shifted):
        called = [other.name for other in others]
        if len(set(called)) < len(called):
            twice = next(name for name in called if called.count(name) > 1)
            raise UsageError(
                f"Two of the other data sets are called {twice}, and results go by name: rename one of them."
            )
    out = run.out
    most = replace(plan, shots=(max(plan.shots),))
    with with_store(run) as stored:
        whole = board(
            data, backbone, replace(stored, out=out / "shots"), plan,
            texts=texts, source=source, command=command, overwrite=overwrite,
        )  # fmt: skip
        names, pool = whole.classes, whole.texts
        base, new = base_and_new(len(data.classes))
        new_classes = ClassNames(tuple(names.names[k] for k in new), names.templates)
        test, _ = readable(data.splits[measured(data)], backbone, stored)
        places = {
            "base-to-new": [
                Place(BASE, data.name, of_classes(test, base)),
                Place(NEW, data.name, of_classes(test, new), new_classes),
            ],
            "transfer": [_cross(o, pool, backbone, stored) for o in cross]
            + [_shifted(o, data, backbone, stored) for o in shifted],
        }
        parts = {"base-to-new": _only(data, base), "transfer": data}
        reaches: list[Reach] = []
        missing: dict[str, str] = {}
        complete = whole.complete
        try:
            for part, there in places.items():
                if there and complete:
                    part_run = replace(stored, out=out / part)
                    desk = Desk.open(
                        parts[part],
                        backbone,
                        most,
                        part_run,
                        texts=pool,
                        jobs=jobs_of(most, parts[part])[0],
                        source=source,
                        command=command,
                    )
                    reaches += _reach(desk, there, missing)
        except KeyboardInterrupt:
            complete = False
    result = Protocol(whole, tuple(reaches), missing, complete, command)
    write_json(out / "protocol.json", result.as_dict(), overwrite=True)
    return result


def _reach(desk: Desk, places: Sequence[Place], missing: dict[str, str]) -> list[Reach]:
    jobs, absent = jobs_of(desk.plan, desk.data)
    missing |= absent
    hits_of: dict[tuple[str, str], dict[str, list[Hits]]] = {}
    about: dict[tuple[str, str], Job] = {}
    with desk.run.track("transfers", len(jobs)) as bar:
        for job in jobs:
            for title, hits in measure(desk, job, places, missing).items():
                hits_of.setdefault((job.label, job.variant), {}).setdefault(title, []).append(hits)
                about[job.label, job.variant] = job
            bar.advance()
    at = {p.title: p for p in places}
    return [
        Reach(
            job.label,
            job.method.card.slug,
            job.variant,
            job.shots,
            at[t].kind,
            at[t].name,
            item_mean(np.stack(hits)),
        )
        for key, job in about.items()
        for t, hits in hits_of[key].items()
    ]


def _cross(other: LabelledData, pool: Pool | None, backbone: Backbone, run: Run) -> Place:
    test, _ = readable(other.splits[measured(other)], backbone, run)
    classes = ClassNames(tuple(tidy(c) for c in other.classes), tuple(ENSEMBLE))
    about = {name for key in pool.texts.texts for name in key.split(VERSUS)} if pool else set()
    return Place(CROSS, other.name, test, classes, pool if about.issuperset(classes) else pool_of(other.name))


def _shifted(other: LabelledData, data: LabelledData, backbone: Backbone, run: Run) -> Place:
    """Return the items of the classes that both have, with the labels of ``data``."""
    test, _ = readable(other.splits[measured(other)], backbone, run)
    place = {name: k for k, name in enumerate(data.classes)}
    labels = test.labels()
    rows = [i for i, k in enumerate(labels.tolist()) if other.classes[k] in place]
    if not rows:
        raise DataError(
            f"{other.name} has no class of {data.name}: a shifted test set holds the same classes, by the same names."
        )
    shared = np.array([place[other.classes[labels[i]]] for i in rows], dtype=np.int64)
    return Place(SHIFT, other.name, Table(test.take(rows).items, {"label": Column("label", shared)}))


def _only(data: LabelledData, chosen: Sequence[int]) -> LabelledData:
    splits = {name: of_classes(table, chosen) for name, table in data.splits.items()}
    return LabelledData(f"{data.name}, base classes", tuple(data.classes[k] for k in chosen), splits)
