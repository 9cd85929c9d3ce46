"""Detectors on normal and anomalous photos: image AUROC, and beside it measures of pixels and of alarms."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from diptych import catalog
from diptych.core import (
    Backbone,
    ClassNames,
    Column,
    DataError,
    Detector,
    Evidence,
    FittedDetector,
    Kit,
    Run,
    Samples,
    Subset,
    Table,
    UnreadableItem,
    UsageError,
)
from diptych.core.settings import with_settings
from diptych.data.labelled import LabelledData
from diptych.data.samples import openable
from diptych.evaluation.anomaly_ranking import Ranking, rank
from diptych.evaluation.arms import CHANCE, Arm, Floats, Measured, Statistic, over_seeds
from diptych.evaluation.spoils import applied, draws_by_seed
from diptych.features import artefacts
from diptych.features.artefacts import About
from diptych.metrics.auroc_intervals import auroc_difference, auroc_gain, auroc_interval
from diptych.metrics.detection import alarm_rates
from diptych.metrics.estimate import Interval
from diptych.metrics.presentation import error_rates
from diptych.tasks.calibration_split import Stretches, calibration_split, held_threshold, stretches
from diptych.tasks.detect import Ready

HALVES = "auroc_of_halves"
"""The part of a measuring in which a random half of the normal photos is called anomalous."""


def _auroc(values: Floats, _: int) -> Interval:
    return auroc_interval(values[..., 0], values[0, :, 1] != 0)


def _difference(first: Floats, second: Floats, seed: int) -> Interval:
    return auroc_difference(first[..., 0], second[..., 0], first[0, :, 1] != 0, seed)


def _lower(first: Floats, second: Floats, seed: int) -> Interval:
    return auroc_gain(first[..., 0], second[..., 0], first[0, :, 1] != 0, seed)


AUROC = Statistic(_auroc, _difference, _lower)
"""(R, N, 2) scores and labels, 1 for anomalous; normal and anomalous photos are resampled apart."""


@dataclass(frozen=True)
class AnomalyBench:
    """How detectors are measured: each seed keeps other normal photos of train aside for the threshold.

    Args:
        data: name and hash stand in the result.
        normal: readable normal photos of train.
        test: readable photos of test, of both kinds.
        failed: photos that cannot be read.
        thing: what the photos show, for detectors that are told.
        rate: false alarms a normal photo, in (0, 1); None: no photo is kept aside, and there is no threshold.
        auxiliary: labelled anomalies of another thing.
    """

    data: LabelledData
    normal: Table[Any]
    test: Table[Any]
    failed: tuple[UnreadableItem, ...]
    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    thing: str
    rate: float | None = 0.1
    auxiliary: Table[Any] | None = None
    metric: str = "image_auroc"
    statistic: Statistic = AUROC
    always: tuple[Arm, ...] = (Arm("winclip-style"),)

    @classmethod
    def open(
        cls, data: LabelledData, backbone: Backbone, run: Run, seeds: tuple[int, ...], **more: Any
    ) -> AnomalyBench:
        """Leave out what cannot be read; ``more`` are the last arguments of the class.

        Raises:
            UsageError: a rate outside (0, 1).
            DataError: the test photos are of one kind, or the normal ones too few for the rate.
        """
        (train, broken), (test, failed) = (_readable(data.split(split)) for split in ("train", "test"))
        if len(set((test.labels() != 0).tolist())) < 2:
            raise DataError(
                f"The test split of {data.name} holds one kind of photos only: a board needs normal and anomalous ones."
            )
        normal = train.take(np.flatnonzero(train.labels() == 0).tolist())
        bench = cls(data, normal, test, (*broken, *failed), backbone, run, seeds, **more)
        if bench.rate is not None:
            calibration_split(normal.items, bench.rate, run)  # says what is wrong before anything runs
        return bench

    @cached_property
    def frames(self) -> Stretches | None:
        """Stretches of the normal photos, where they are neighbouring frames."""
        return stretches(self.normal.items)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Name, hash, sizes and settings; there is no hash where a photo cannot be read."""
        about = {
            "dataset": self.data.name,
            "data_hash": None if self.failed else self.data.hash,
            "split": "test",
            "items": len(self.test),
        }
        sizes = {"anomalous": int((self.test.labels() != 0).sum()), "normal_train": len(self.normal)}
        return {**about, **sizes, "object": self.thing, "rate": self.rate}

    def measure(self, arm: Arm) -> Measured:
        """Fit, set the threshold on normal photos kept aside, and rank the test photos; for chance all are equal."""
        if arm.system == CHANCE:
            equal = Ranking(np.zeros(len(self.test)), self.test.labels() != 0)
            return self._with_halves(
                over_seeds(lambda run: (_stacked(equal), equal.metrics), self.run, self.seeds, draws=False)
            )
        if arm.loaded is not None:
            ready: Ready = arm.loaded.fitted
            return self._with_halves(
                over_seeds(
                    lambda run: self._ranked(ready.fitted, self._held(ready), run), self.run, self.seeds, draws=False
                )
            )
        method = detector(arm.system, arm.variant, self.thing)
        needs = bool(method.card.needs.evidence)

        def once(run: Run) -> tuple[Floats, Mapping[str, float]]:
            fit_on: Samples[Any] = self.normal.items
            aside: Subset[Any] | None = None
            if self.rate:
                fit_on, aside = calibration_split(self.normal.items, self.rate, run, self.frames)
            normal: Table[Any] = Table(fit_on, {"label": Column("label", np.zeros(len(fit_on), dtype=np.int64))})
            given = Evidence(train=normal, auxiliary=self.auxiliary)
            chosen, _, evidence = applied(arm.spoil, method, ClassNames((self.thing,)), given, run)
            start = time.monotonic()
            fitted = chosen.fit(Kit({"main": self.backbone}), evidence, run)
            clocks = {"fit_seconds": time.monotonic() - start}
            threshold = None
            if aside is not None and self.rate:
                clean = np.array([a.score for a in fitted.detect(aside, run)])
                threshold, _, _ = held_threshold(clean, aside, self.frames, self.rate)
            # a control is judged by images alone: millions of pixels need not be sorted
            values, others = self._ranked(fitted, threshold, run, pixels=not arm.spoil)
            return values, {**others, **clocks}

        draws = draws_by_seed(arm.spoil, method.card) or (self.rate is not None and needs)
        return self._with_halves(over_seeds(once, self.run, self.seeds, draws=draws))

    def read(self, folder: Path, about: About) -> Ready:
        """Return the detector of a folder, with the threshold that it was kept with.

        Raises:
            UsageError: it was fitted on another backbone, or was told of another thing.
        """
        if takes_thing(type(about.system)) and about.system.thing != self.thing:
            raise UsageError(
                f"{folder} looks for damage of {about.system.thing!r}, and the photos show {self.thing!r}: give "
                f"{{thing}} so, or another {{fitted}}."
            )
        return Ready.of(artefacts.load(folder, Kit.of(self.backbone)))

    def _held(self, ready: Ready) -> float | None:
        """Return the threshold of a loaded detector, where it was kept with the rate of the board.

        No threshold is set here: the detector may have learnt from the normal photos that would be kept aside.
        """
        return ready.threshold if ready.rate == self.rate else None

    def _ranked(
        self, fitted: FittedDetector, threshold: float | None, run: Run, *, pixels: bool = True
    ) -> tuple[Floats, Mapping[str, float]]:
        """Return scores and labels of the test photos, and the numbers beside AUROC."""
        result, alarms, errors = rank(fitted, self.test, run), {}, {}
        if threshold is not None:
            false, true = alarm_rates(result.scores, result.labels, threshold)
            group = self.test.columns.get("group")
            kinds = None if group is None else list(group.values)
            errors = error_rates(result.scores, result.labels, threshold, kinds)
            alarms = {"false_alarms": false, "detected": true}
        if not pixels:
            result = Ranking(result.scores, result.labels)
        others = {name: value for name, value in result.metrics.items() if name != self.metric}
        return _stacked(result), {**alarms, **others, **errors}

    def _with_halves(self, result: Measured) -> Measured:
        """Add the ranking of the normal test photos alone, a random half of which is called anomalous."""
        normal = np.flatnonzero(self.test.labels() == 0)
        labels = np.random.default_rng(self.run.integer("halves")).permutation(len(normal)) < len(normal) // 2
        rows = [Ranking(scores, labels) for scores in result.values[:, normal, 0]]
        image_ap = float(np.mean([row.metrics["image_ap"] for row in rows]))
        half = Measured(np.stack([_stacked(row) for row in rows]), {"image_ap": image_ap}, result.seeds)
        return replace(result, parts={HALVES: half})


def detector(slug: str, variant: str, thing: str) -> Detector:
    """Return a system of the catalog, told what the photos show where it asks for that.

    Raises:
        UsageError: the system is no detector.
    """
    system = catalog.find(slug, Detector)
    return with_settings(catalog.row(system, variant), {"thing": thing} if takes_thing(system) else {})


def takes_thing(system: type[Detector]) -> bool:
    """Whether a detector is told what the photos show."""
    return "thing" in getattr(system, "__dataclass_fields__", {})


def _stacked(ranking: Ranking) -> Floats:
    return np.stack([ranking.scores, ranking.labels.astype(np.float64)], axis=1)


def _readable(table: Table[Any]) -> tuple[Table[Any], list[UnreadableItem]]:
    readable, failed = openable(table.items)
    return table.take(readable.indices), failed
