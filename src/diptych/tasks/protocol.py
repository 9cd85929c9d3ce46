"""The few-shot protocol of the field in one piece: shots, base to new classes, other data sets, shifted test sets.

Everything that is finished lies in the results folder and is taken from there when its inputs hash the same. A system that learns and
cannot speak of other classes (its heads or caches belong to those it was fitted on) has no place in base-to-new and cross-data-set, as in
the papers; one that sees no labels is asked anew. There, base classes included, a system is fitted as its ``transferable`` says.

Source: CoOp (IJCV 2022), section 4 (shots, shifted ImageNets); CoCoOp (CVPR 2022), section 4 (base to new, cross data set, harmonic mean).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Column, Table
from diptych.core.errors import DataError, DiptychError, UsageError
from diptych.core.method import FittedClassifier
from diptych.core.run import Run
from diptych.data.classnames import tidy
from diptych.data.labelled import LabelledData
from diptych.data.splits import base_and_new, of_classes
from diptych.data.templates import ENSEMBLE
from diptych.metrics.interval import Interval, bootstrap_mean
from diptych.tasks.board import Board, board
from diptych.tasks.classify import with_store
from diptych.tasks.episodes import measured, readable
from diptych.tasks.outcome import Outcome
from diptych.tasks.record import now, plain, write_bytes, write_json
from diptych.tasks.rows import Desk, Job, Plan
from diptych.tasks.work import jobs_of

BASE, NEW, CROSS, SHIFT = "base", "new", "cross", "shift"
Hits = NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """Where fitted systems are measured.

    Args:
        kind: "base", "new", "cross" or "shift".
        name: of the data set.
        table: readable items whose labels count ``classes``.
        classes: names; None: those that the system was fitted on.
    """

    kind: str
    name: str
    table: Table[Any]
    classes: ClassNames | None = None


@dataclass(frozen=True)
class Reach:
    """One system in one place.

    Args:
        label: of the row.
        method, variant, shots: which.
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


@dataclass(frozen=True)
class Protocol:
    """All parts.

    Args:
        board: accuracy against shots.
        reaches: base, new, other data sets and shifted test sets, at most shots.
        missing: row label -> why it has no place in a part.
        complete: False where Ctrl-C ended it.
        command, date: how and when.
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

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        reaches = [
            {**{k: v for k, v in vars(r).items() if k != "accuracy"}, "acc1": r.accuracy.value, "ci95": [r.accuracy.low, r.accuracy.high]}
            for r in self.reaches
        ]
        own = ("complete", "missing", "command", "date")
        found: dict[str, Any] = plain(
            {
                "kind": "protocol",
                **{name: getattr(self, name) for name in own},
                "harmonic": {label: dict(zip(("base", "new", "harmonic"), v, strict=True)) for label, v in self.harmonic().items()},
                "reaches": reaches,
                "board": self.board.as_dict(),
            }
        )
        return found


def protocol(
    data: LabelledData,
    backbone: Backbone,
    run: Run,
    plan: Plan,
    *,
    cross: Sequence[LabelledData] = (),
    shifted: Sequence[LabelledData] = (),
    source: str = "",
    command: str = "",
) -> Protocol:
    """Run the protocol; see the module.

    Args:
        data: with train and test (or val).
        backbone: for all.
        run: device, cache, progress; ``run.out`` keeps what is finished.
        plan: systems, shots, seeds; base-to-new and transfers use the most shots.
        cross: other data sets, with classes of their own.
        shifted: test sets of the same classes (found by name; all or some of them) that look different.
        source: what ``open_data`` was given.
        command: the command line that repeats it.

    Raises:
        UsageError: no results folder, or too few classes for base and new.
        DataError: no train split, a shifted set without a class of the data, or nothing to measure.
    """
    if run.out is None:
        raise UsageError("The protocol needs a results folder: give the run an out folder.")
    if len(data.classes) < 4:
        raise UsageError(f"{data.name} has {len(data.classes)} classes: base and new need at least 2 each.")
    data.split("train")
    out = run.out
    most = replace(plan, shots=(max(plan.shots),))
    with with_store(run) as stored:
        whole = board(data, backbone, replace(stored, out=out / "shots"), plan, source=source, command=command)
        names = whole.classes
        base, new = base_and_new(len(data.classes))
        new_classes = ClassNames(tuple(names.names[k] for k in new), names.templates)
        test, _ = readable(data.splits[measured(data)], backbone, stored)
        places = {
            "base-to-new": [Place(BASE, data.name, of_classes(test, base)), Place(NEW, data.name, of_classes(test, new), new_classes)],
            "transfer": [_cross(other, backbone, stored) for other in cross] + [_shifted(o, data, backbone, stored) for o in shifted],
        }
        parts = {"base-to-new": _only(data, base), "transfer": data}
        reaches: list[Reach] = []
        missing: dict[str, str] = {}
        complete = whole.complete
        try:
            for part, there in places.items():
                if there and complete:
                    desk = Desk.open(parts[part], backbone, most, replace(stored, out=out / part), source=source, command=command)
                    reaches += _reach(desk, there, missing)
        except KeyboardInterrupt:
            complete = False
    made = Protocol(whole, tuple(reaches), missing, complete, command)
    write_json(out / "protocol.json", made.as_dict(), overwrite=True)
    return made


def _reach(desk: Desk, places: Sequence[Place], missing: dict[str, str]) -> list[Reach]:
    jobs, absent = jobs_of(desk.plan, desk.data)
    missing |= absent
    found: dict[tuple[str, str], dict[str, list[Hits]]] = {}
    about: dict[tuple[str, str], Job] = {}
    with desk.run.track("transfers", len(jobs)) as bar:
        for job in jobs:
            try:
                for name, hits in _measure(desk, job, places, missing).items():
                    found.setdefault((job.label, job.variant), {}).setdefault(name, []).append(hits)
                    about[job.label, job.variant] = job
            except DiptychError as error:
                missing[job.label] = str(error)
            bar.advance()
    seed = desk.run.integer("bootstrap")
    by_name = {_place(p): p for p in places}
    return [
        Reach(job.label, job.method.card.slug, job.variant, job.shots, by_name[n].kind, by_name[n].name, bootstrap_mean(np.stack(h), seed))
        for key, job in about.items()
        for n, h in found[key].items()
    ]


def _measure(desk: Desk, job: Job, places: Sequence[Place], missing: dict[str, str]) -> dict[str, Hits]:
    """Return place -> (N,) hits of one run, from its file where that has the same inputs."""
    path = desk.path(job)
    kept = _load(path, places) if path else None
    if kept is not None:
        return kept
    run = replace(desk.run, seed=job.seed)
    drawn = desk.drawn(job, run) if job.shots else None
    evidence, carries = desk.evidence(job, drawn), job.method.transferable()
    fits: dict[bool, FittedClassifier] = {}
    found: dict[str, Hits] = {}
    for place in places:
        moved = place.kind != SHIFT and carries != job.method
        if moved not in fits:
            fits[moved] = desk.fit(replace(job, method=carries) if moved else job, evidence, run)
        fitted = fits[moved]
        try:
            speaker = fitted if place.classes is None else _other(desk, job, fitted, place.classes, run)
        except DiptychError as error:
            missing[f"{job.label}, {place.kind}"] = str(error)
            continue
        outcome = Outcome.of(speaker.scores(place.table.items, run), desk.backbone, place.table.labels())
        found[_place(place)] = outcome.correct.astype(np.float64)
    if path:
        content = io.BytesIO()
        np.savez_compressed(content, **{f"{name}\t{_hash(p)}": found[name] for p in places if (name := _place(p)) in found})  # type: ignore[arg-type]
        write_bytes(path.with_suffix(".hits.npz"), content.getvalue(), overwrite=True)
    return found


def _other(desk: Desk, job: Job, fitted: FittedClassifier, classes: ClassNames, run: Run) -> FittedClassifier:
    """Return the system for other classes: asked anew where it sees no labels, else what it learnt carried over."""
    if job.shots:
        return fitted.for_classes(classes)
    return replace(desk, classes=classes).fit(job, desk.evidence(job, None), run)


def _load(path: Path, places: Sequence[Place]) -> dict[str, Hits] | None:
    """Return the kept hits if they are of exactly these places."""
    try:
        with np.load(path.with_suffix(".hits.npz"), allow_pickle=False) as file:
            held = {name: np.asarray(file[name], dtype=np.float64) for name in file.files}
    except (OSError, ValueError, EOFError):
        return None
    wanted = {f"{_place(p)}\t{_hash(p)}": _place(p) for p in places}
    return {wanted[name]: hits for name, hits in held.items()} if set(held) <= set(wanted) and held else None


def _cross(other: LabelledData, backbone: Backbone, run: Run) -> Place:
    test, _ = readable(other.splits[measured(other)], backbone, run)
    return Place(CROSS, other.name, test, ClassNames(tuple(tidy(c) for c in other.classes), tuple(ENSEMBLE)))


def _shifted(other: LabelledData, data: LabelledData, backbone: Backbone, run: Run) -> Place:
    """Return the items of the classes that both have, with the labels of ``data``."""
    test, _ = readable(other.splits[measured(other)], backbone, run)
    place = {name: k for k, name in enumerate(data.classes)}
    labels = test.labels()
    rows = [i for i, k in enumerate(labels.tolist()) if other.classes[k] in place]
    if not rows:
        raise DataError(f"{other.name} has no class of {data.name}: a shifted test set holds the same classes, by the same names.")
    own = np.array([place[other.classes[labels[i]]] for i in rows], dtype=np.int64)
    return Place(SHIFT, other.name, Table(test.take(rows).items, {"label": Column("label", own)}))


def _only(data: LabelledData, chosen: Sequence[int]) -> LabelledData:
    splits = {name: of_classes(table, chosen) for name, table in data.splits.items()}
    return LabelledData(f"{data.name}, base classes", tuple(data.classes[k] for k in chosen), splits)


def _place(place: Place) -> str:
    return f"{place.kind} {place.name}"


def _hash(place: Place) -> str:
    keys = "".join(place.table.items.key(i) for i in range(len(place.table)))
    classes = repr(place.classes) + repr(place.table.labels().tolist())
    return hashlib.sha256((keys + classes).encode()).hexdigest()[:16]
