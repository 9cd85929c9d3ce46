"""Fine-tunings and pretrainings on one data set: what the held-out rows reach after each, and before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from diptych import catalog
from diptych.core import (
    Backbone,
    ClassNames,
    DataError,
    Evidence,
    Kit,
    Learns,
    Objective,
    Recipe,
    Run,
    Table,
    Trained,
    UsageError,
)
from diptych.core.train import everything
from diptych.data.labelled import LabelledData
from diptych.data.load import refuse_one_class
from diptych.data.words.classnames import tidy
from diptych.evaluation.arms import CHANCE, MEANS, Arm, Floats, Measured, Statistic, over_seeds
from diptych.evaluation.boards.region_tasks import BOXED, RegionTasks
from diptych.evaluation.boards.tune_parts import OTHERS, TASK, chance, reached
from diptych.features.frozen import Headed, on_trunks
from diptych.metrics.ratio import share
from diptych.tasks.training.data import (
    by_labels,
    check_captions,
    measured_split,
    only_readable,
    with_splits,
)
from diptych.tasks.training.learns import learns, need_towers
from diptych.tasks.training.tune import decoder_for, paired
from diptych.train.recipe import train_space
from diptych.train.regions import has_regions
from diptych.train.schedule import Fit

BEFORE = Arm("before")
"""The backbone that every training starts from."""
RESAMPLED = "resampled"
"""What is drawn anew for the intervals of boxes: "pictures", with all boxes in them."""
STEPS, SECONDS = "steps", "train_seconds"
"""Further numbers of a training: its optimiser steps, and what they took, see ``core.train.Trained``."""

ChangeRows: TypeAlias = Callable[[Table[Any], Run], Table[Any]]
MakeParts: TypeAlias = Callable[[Backbone, Table[Any], Run], Mapping[str, Any]]
"""(space that is trained, training rows as they were, run) -> further parts of the kit."""


@dataclass(frozen=True)
class Training:
    """One way to train: the system of an arm that is no row of the catalog.

    Args:
        fit: its settings; None: those of the bench.
        rows: changes the training rows: shuffled captions, fewer of them.
        kit: makes parts beside the space; None: those of the bench.
        start: (space of the bench, run) -> the space to start from, all of which learns; None: that of the bench.
        learns: the parameters that learn; None: those of the bench.
    """

    method: Objective | Recipe
    fit: Fit | None = None
    rows: ChangeRows | None = None
    kit: MakeParts | None = None
    start: Callable[[Any, Run], Backbone] | None = None
    learns: Learns | None = None


@dataclass
class TuneBench:
    """One data set with labels or captions, and others on which forgetting shows.

    With captions the parts of a measuring are "recall_at_1", "recall_at_5" and "recall_at_10", (R, N) means of both
    directions, and "effective_rank", (R, 1) of photos and captions as a share of the width. With labels they are
    "task", (R, N) hits on the held-out rows, and "others", those on all other data. Other captioned rows are a part by
    their name.

    Args:
        data: its train split is trained on; test, or else val, is measured.
        backbone: where every training starts.
        parts: what may learn; see ``tasks.training.tune.learns``.
        named: name of such data -> its classes' names and prompts, where they are not those of folders in templates.
        kit: other parts, such as a writer.
        beside: name -> other captioned rows, whose recall at 1 is a part.
        part: the part that is the metric; "": recall at 1, or the hits on the task.
        metric: its name; "": "recall_at_1" with captions, else "acc1".
        report: facts of the result in place of the board's.
        lengths: name -> settings in place of ``fit``: arms name one of them, so that trainings are compared at equal
            steps and at equal seconds.

    Raises:
        UsageError: an unknown part, or a caption that is too long.
        DataError: there is nothing to measure on, no photo of a split can be read, a row has no caption, or all rows
            are of one class.
    """

    data: LabelledData
    backbone: Backbone
    fit: Fit
    run: Run
    seeds: tuple[int, ...]
    parts: str = "heads"
    templates: Sequence[str] = ("a photo of a {}.",)
    elsewhere: Sequence[LabelledData] = ()
    named: Mapping[str, ClassNames] = field(default_factory=dict)
    kit: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, Table[Any]] = field(default_factory=dict)
    part: str = ""
    metric: str = ""
    report: Mapping[str, Any] = field(default_factory=dict)
    lengths: Mapping[str, Fit] = field(default_factory=dict)
    statistic: Statistic = MEANS
    always: tuple[Arm, ...] = (BEFORE,)

    def __post_init__(self) -> None:
        data, _ = with_splits(self.data, self.run.seed)
        split = measured_split(data)
        if split == "train":
            raise DataError(f"{data.name} has no test and no val rows to measure on: add one of them.")
        if "captions" not in data.split(split).columns:
            refuse_one_class(data, data.name)
        self.learns = learns(self.backbone, self.parts)
        self.space: Backbone = Headed(self.backbone) if self.parts == "heads" else self.backbone
        check_captions(data, ("train", split), self.backbone.text.inputs)
        self.data, self.failed = only_readable(data, ("train", split), self.space, self.run)
        self.names = self._names(data)
        with_regions = all(has_regions(self.data.split(s)) for s in ("train", split)) and not self.part
        self.regions = RegionTasks(self.data.split("train"), self.data.split(split)) if with_regions else None
        self.train, self.held_out = self._read(self.data.split("train")), self._read(self.data.split(split))
        self.others: dict[str, tuple[Table[Any], ClassNames | None]] = {}
        for other in map(by_labels, self.elsewhere):
            good, broken = only_readable(other, [measured_split(other)], self.space, self.run)
            self.others[other.name] = self._read(good.split(measured_split(good))), self._names(other)
            self.failed += broken
        self.metric = self.metric or ("recall_at_1" if "captions" in self.held_out.columns else "acc1")

    @property
    def facts(self) -> Mapping[str, Any]:
        """Name, hash, sizes and settings."""
        if self.report:
            return self.report
        sizes = {"items": len(self.held_out), "train": len(self.train)}
        data = {"dataset": self.data.name, "data_hash": self.data.hash, **sizes, "parts": self.parts}
        more: dict[str, Any] = {"fit": self.fit.as_dict(), "also": list(self.others)}
        if self.lengths:
            more["lengths"] = {name: fit.as_dict() for name, fit in self.lengths.items()}
        if self.regions is not None:
            more["regions"] = {**self.regions.facts(self.space), RESAMPLED: "pictures"}
        return {**data, **more}

    def measure(self, arm: Arm) -> Measured:
        """Train from the same backbone on the same rows, and measure; "before" trains nothing.

        Chance has the expected recalls and hits, and rank 0.
        """
        how = None if arm.system in (CHANCE, BEFORE.system) else self._training(arm)

        def once(run: Run) -> tuple[Floats, Mapping[str, float], Mapping[str, Floats]]:
            if arm.system == CHANCE:
                result = chance(self.held_out, self.names)
                result |= {name: chance(rows, None)["recall_at_1"] for name, rows in self.beside.items()}
                return next(iter(result.values())), {}, result
            if how is None:
                return self._reached(Trained(self.space), run)
            trained = self.trained(how, run)
            values, others, parts = self._reached(trained, run)
            return values, {**others, STEPS: trained.steps, SECONDS: trained.seconds}, parts

        whole = over_seeds(once, self.run, self.seeds, draws=how is not None)
        counted = {name: replace(part, counted=name in BOXED) for name, part in whole.parts.items()}
        means = {f"acc1_{n}" if n in (TASK, OTHERS) else n: _mean(part) for n, part in counted.items()}
        parts = {name: replace(part, others=means) for name, part in counted.items()}
        return replace(parts[self.part] if self.part else whole, parts=parts)

    def trained(self, how: Training, run: Run) -> Trained:
        """Return what a training makes with the seed of a run."""
        quiet = replace(run, out=None, workers=0)
        space = how.start(self.space, quiet) if how.start else self.space
        rows = paired(self.train, self.names, how.method)
        rows = how.rows(rows, quiet) if how.rows else rows
        more = how.kit(space, self.train, quiet) if how.kit else decoder_for(how.method, space, rows, quiet)
        kit = Kit({"main": space, **more, **self.kit})
        chosen = how.learns or (everything if how.start else self.learns)
        fit = how.fit or self.fit
        result = train_space(how.method, kit, Evidence(train=rows), fit, quiet, classes=self.names, learns=chosen)
        if fit in self.lengths.values() and result.stages > 1:
            raise UsageError(
                f"{how.method.card.slug} trains in {result.stages} stages, each of the whole length, so it cannot be "
                f"compared at equal lengths: leave out {{steps}} and {{seconds}}."
            )
        return result

    def _training(self, arm: Arm) -> Training:
        fit = self.lengths.get(arm.length, self.fit)
        if isinstance(arm.system, Training):
            return arm.system
        system = catalog.find(arm.system)
        if not issubclass(system, (Objective, Recipe)):
            raise UsageError(f"{arm.system} trains nothing: see 'diptych systems'.")
        method: Objective | Recipe = catalog.row(system, arm.variant)
        need_towers(method, self.parts)
        return Training(method, fit=fit)

    def _reached(self, trained: Trained, run: Run) -> tuple[Floats, Mapping[str, float], Mapping[str, Floats]]:
        space: Any = trained.space
        parts = reached(space, self.held_out, self.names, run)
        others = {name: reached(space, *known, run)[TASK] for name, known in self.others.items()}
        together = {OTHERS: np.concatenate(list(others.values()))} if others else {}
        by_name = {f"acc1 on {name}": hits for name, hits in others.items()}
        beside = {name: reached(space, rows, None, run)["recall_at_1"] for name, rows in self.beside.items()}
        if self.regions is not None:
            by_name |= self.regions.reached(space, trained.parts, run)
        means = {n: _mean(Measured(v[None], counted=n in BOXED)) for n, v in by_name.items()}
        every = {**parts, **together, **beside, **({} if self.part else by_name)}  # proofs read theirs alone
        return next(iter(parts.values())), means, every

    def _read(self, table: Table[Any]) -> Table[Any]:
        """Return trunk vectors in the place of photos, where heads learn."""
        return on_trunks(self.space, table, self.run) if isinstance(self.space, Headed) else table

    def _names(self, data: LabelledData) -> ClassNames | None:
        names = self.named.get(data.name)
        if names is None and data.classes:
            names = ClassNames(tuple(tidy(c) for c in data.classes), tuple(self.templates))
        if names and isinstance(self.space, Headed):
            self.space.memory.learn([prompt for prompts in names.prompts() for prompt in prompts], self.run)
        return names


def equal_lengths(fit: Fit, steps: int | None, seconds: float | None) -> tuple[Fit, dict[str, Fit]]:
    """Return settings with another length, and the settings of each length by name where there are two.

    The warm-up is at most a tenth of the steps; with equal seconds, of those that they allow, see ``Fit.seconds``.

    Args:
        fit: all other settings.
        steps: optimiser steps of each training; None: not equal steps.
        seconds: of each training, see ``Fit.seconds``; None: not equal seconds.

    Example:
        >>> fit, lengths = equal_lengths(Fit(lr=1e-3, batch=8, epochs=1), steps=60, seconds=30.0)
        >>> fit.steps, list(lengths), lengths["30 s"].seconds
        (60, ['60 steps', '30 s'], 30.0)
    """
    lengths: dict[str, Fit] = {}
    schedule = fit.schedule if steps is None else replace(fit.schedule, warmup=min(fit.schedule.warmup, steps // 10))
    plain = replace(fit, epochs=None, steps=1, schedule=schedule)
    if steps is not None:
        lengths[f"{steps} steps"] = replace(plain, steps=steps)
    if seconds is not None:
        lengths[f"{seconds:g} s"] = replace(plain, steps=None, seconds=seconds)
    first = next(iter(lengths.values()), fit)
    return first, lengths if len(lengths) > 1 else {}


def _mean(part: Measured) -> float:
    return share(part.values) if part.counted else float(part.values.mean())
