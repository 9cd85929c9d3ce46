"""Detectors on normal and anomalous photos: image AUROC, and beside it what maps say of pixels and a threshold of
alarms.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core.backbone import Backbone
from diptych.core.data import Column, Evidence, Table
from diptych.core.errors import DataError, UnreadableItem
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.data.labelled import LabelledData
from diptych.evaluation.boards.bench import Job, Measured, Statistic, over_seeds, two_sided
from diptych.evaluation.proofs.detect import draws
from diptych.metrics.detection import alarm_rates, auroc_bootstrap, auroc_gain, false_alarm_threshold
from diptych.tasks.detect import detector, kept_aside, openable, rank


@dataclass(frozen=True)
class AnomalyBench:
    """How detectors are measured: each seed keeps other normal photos of train aside for the threshold.

    Args:
        data: of whose name and hash the result speaks.
        normal: readable normal photos of train.
        test: readable photos of test, of both kinds.
        failed: photos that cannot be read.
        backbone: of all detectors.
        run: device and cache.
        seeds: of draws and trainings.
        thing: what the photos show, for detectors that are told.
        rate: false alarms a normal photo, in (0, 1).
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
    rate: float = 0.1
    auxiliary: Table[Any] | None = None
    metric: str = "image_auroc"
    always: tuple[Job, ...] = (("winclip-style", ""),)

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
        made = cls(data, normal, test, (*broken, *failed), backbone, run, seeds, **more)
        kept_aside(normal.items, made.rate, run)  # says what is wrong before anything runs
        return made

    @property
    def statistic(self) -> Statistic:
        """AUROC of (R, N) scores; normal and anomalous photos are resampled apart."""
        labels = self.test.labels() != 0
        return Statistic(
            lambda scores, seed: auroc_bootstrap(scores, labels, seed),
            lambda first, second, seed: two_sided(auroc_gain, first, second, labels, seed),
        )

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

    def measure(self, slug: str, variant: str) -> Measured:
        """Fit, set the threshold on the normal photos kept aside, and rank the test photos."""
        method = detector(slug, variant, self.thing)

        def once(run: Run) -> tuple[NDArray[np.float64], Mapping[str, float]]:
            fit_on, aside = kept_aside(self.normal.items, self.rate, run)
            zeros = Column("label", np.zeros(len(fit_on), dtype=np.int64))
            start = time.monotonic()
            fitted = method.fit(
                Kit({"main": self.backbone}),
                Evidence(train=Table(fit_on, {"label": zeros}), auxiliary=self.auxiliary),
                run,
            )
            seconds = time.monotonic() - start
            threshold = false_alarm_threshold(np.array([a.score for a in fitted.detect(aside, run)]), self.rate)
            found = rank(fitted, self.test, run)
            alarms, hits = alarm_rates(found.scores, found.labels, threshold)
            others = {name: value for name, value in found.metrics.items() if name != self.metric}
            return found.scores, {"false_alarms": alarms, "detected": hits, **others, "fit_seconds": seconds}

        return over_seeds(once, self.run, self.seeds, draws=draws(method) or bool(method.card.needs.evidence))


def _readable(table: Table[Any]) -> tuple[Table[Any], list[UnreadableItem]]:
    kept, failed = openable(table.items)
    return table.take(kept.indices), failed
