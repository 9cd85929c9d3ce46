"""Classifiers on labelled photos with few-shot draws: which test photos each names rightly, once per seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from diptych import catalog
from diptych.core import (
    Backbone,
    Classifier,
    ClassNames,
    Evidence,
    FittedClassifier,
    Kit,
    Run,
    UnreadableItem,
)
from diptych.data.labelled import LabelledData
from diptych.data.splits import ValRule
from diptych.data.words.pools import Pool
from diptych.evaluation.arms import CHANCE, MEANS, Arm, Floats, Measured, Statistic, over_seeds
from diptych.evaluation.few_shot.loaded import read
from diptych.evaluation.few_shot.plan import Job, Plan
from diptych.evaluation.few_shot.rows import Desk
from diptych.evaluation.outcome import Outcome
from diptych.evaluation.spoils import applied
from diptych.features.artefacts import About


@dataclass(frozen=True)
class ClassifyBench:
    """How classifiers are measured where rows need no record of their own: proofs and ablations.

    Args:
        desk: the data, and the draws that all arms of a seed share.
        parts: of the kit, beside the backbone.
    """

    desk: Desk
    seeds: tuple[int, ...]
    parts: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "acc1"
    statistic: Statistic = MEANS
    always: tuple[Arm, ...] = (Arm("zero-shot", "ensemble"),)

    @classmethod
    def open(
        cls,
        data: LabelledData,
        backbone: Backbone,
        run: Run,
        seeds: tuple[int, ...],
        *,
        val: ValRule = "full",
        classes: ClassNames | None = None,
        texts: Pool | None = None,
        parts: Mapping[str, Any] | None = None,
    ) -> ClassifyBench:
        """Encode what is measured.

        Args:
            data: with test (or val); with train for systems that learn.
            backbone: for all arms.
            run: device, cache and progress.
            seeds: of draws, spoils and systems.
            val: on how many items choices are made; see ``few_shot.plan.Plan``.
            classes: names and templates; None: tidied folder names in the ensemble of seven templates.
            texts: descriptions; None: the pool that ships for a data set of this name, if there is one.
            parts: of the kit, beside the backbone.

        Raises:
            UsageError: another number of names than classes.
            DataError: nothing can be measured.
        """
        desk = Desk.open(data, backbone, Plan(val=val), replace(run, out=None), classes=classes, texts=texts)
        return cls(desk, seeds, parts or {})

    @property
    def backbone(self) -> Backbone:
        """Of all arms."""
        return self.desk.backbone

    @property
    def run(self) -> Run:
        """Device, cache and progress."""
        return self.desk.run

    @property
    def failed(self) -> tuple[UnreadableItem, ...]:
        """Photos of test, and of the draws so far, that cannot be read."""
        return tuple(self.desk.failed.values())

    @property
    def facts(self) -> Mapping[str, Any]:
        """Name, hash, sizes and texts."""
        desk = self.desk
        sizes = {"items": len(desk.test), "classes": len(desk.classes)}
        texts = desk.texts.as_dict() if desk.texts else None
        parts = {name: part.fingerprint for name, part in self.parts.items()}
        about = {"dataset": desk.data.name, "data_hash": desk.data_hash, **sizes, "texts": texts}
        return {**about, "parts": parts} if parts else about

    def measure(self, arm: Arm) -> Measured:
        """Fit to the draw of each seed, the same for every arm, and say which test photos are named rightly.

        Chance hits 1/K of each. Systems that learn without labels are given the photos of train.
        """
        desk = self.desk
        if arm.system == CHANCE:
            expected = np.full(len(desk.test), 1 / len(desk.classes))
            return over_seeds(lambda run: (expected, {}), self.run, self.seeds, draws=False)
        if arm.loaded is not None:
            ready = arm.loaded.fitted
            return over_seeds(lambda run: (self._right(ready, run), {}), self.run, self.seeds, draws=False)
        method = catalog.row(catalog.find(arm.system, Classifier), arm.variant)
        shots = arm.shots if "train" in method.card.needs.evidence else 0

        def once(run: Run) -> tuple[Floats, Mapping[str, float]]:
            job = Job(method, arm.variant, shots, run.seed)
            drawn, pool = desk.drawn(job, run) if shots else None, desk.pool(job)
            given: Evidence[Any] = Evidence(
                train=drawn.train if drawn else None,
                val=drawn.val if drawn else None,
                unlabelled=desk.data.split("train").items if job.pooled else None,
                texts=pool.texts if pool else None,
            )
            chosen, classes, evidence = applied(arm.spoil, method, desk.classes, given, run)
            fitted = chosen.fit(Kit({"main": desk.backbone, **self.parts}), classes, evidence, run)
            return self._right(fitted, run), {}

        return over_seeds(once, self.run, self.seeds, draws=True)

    def read(self, folder: Path, about: About) -> FittedClassifier:
        """Return the classifier of a folder, for the classes of the data; see ``few_shot.loaded.read``."""
        desk = self.desk
        loaded = read(folder, about, desk.backbone, desk.data.name, desk.classes, renames=False)
        fitted: FittedClassifier = loaded.fitted
        return fitted

    def _right(self, fitted: FittedClassifier, run: Run) -> Floats:
        """Return (N,) 1.0 where a test photo is named rightly."""
        test = self.desk.test
        return Outcome.of(fitted.scores(test.items, run), self.desk.backbone, test.labels()).correct.astype(np.float64)


@dataclass(frozen=True)
class AroundClassify:
    """A bench round another one, whose backbone, run and seeds it has."""

    inner: ClassifyBench

    @property
    def backbone(self) -> Backbone:
        """Of all arms."""
        return self.inner.backbone

    @property
    def run(self) -> Run:
        """Device, cache and progress."""
        return self.inner.run

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of draws, spoils and trainings."""
        return self.inner.seeds

    @property
    def failed(self) -> tuple[UnreadableItem, ...]:
        """Photos that cannot be read."""
        return self.inner.failed
