"""Segmenters on photos with label maps: mIoU of the whole set, and beside it the share of pixels that are right."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from diptych import catalog
from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Samples
from diptych.core.errors import DataError, UsageError
from diptych.core.method import Segmenter
from diptych.core.run import Run
from diptych.data.labelled import LabelledData
from diptych.evaluation.boards.bench import Job, Measured, Statistic, over_seeds, two_sided
from diptych.evaluation.datasets import unlabelled_photos
from diptych.evaluation.proofs.classify import CHANCE
from diptych.evaluation.proofs.segment import SegmentBench, Stacked
from diptych.metrics.segmentation import IGNORE, chance, confusion, miou_bootstrap, miou_gain, pixel_accuracy
from diptych.tasks.detect import openable
from diptych.tasks.segment import TEACHER, counts, teach

MIOU = Statistic(miou_bootstrap, partial(two_sided, miou_gain))
"""Counts of (R, N, K, K) pixels are added up over images, and divided once."""


@dataclass
class MaskBench:
    """How segmenters are measured: on the test split, or else val.

    Args:
        data: photos with label maps.
        backbone: of all segmenters.
        run: device and cache.
        seeds: of trainings.
        classes: other names and templates for the same K classes; None: the data set's, with the ensemble.
        photos: without labels, for systems that learn from some; None: see ``proofs.segment.teach``.
        teacher: image encoder that teaches, where a system asks for one.

    Raises:
        UsageError: another number of names than classes.
        DataError: no photo can be read.
    """

    data: LabelledData
    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    classes: ClassNames | None = None
    photos: Samples[Any] | None = None
    teacher: str = TEACHER
    metric: str = "miou"
    statistic: Statistic = MIOU
    always: tuple[Job, ...] = (("maskclip", ""), (CHANCE, ""))
    bench: SegmentBench = field(init=False)

    def __post_init__(self) -> None:
        if self.classes is not None and len(self.classes) != len(self.data.classes):
            asked, given = len(self.data.classes), len(self.classes)
            raise UsageError(
                f"{self.data.name} has {asked} classes, and {given} names were given: give one a class, in order."
            )
        whole = SegmentBench.open(self.data, self.backbone, self.run, self.seeds)
        kept, self.failed = openable(whole.table.items)
        if not len(kept):
            raise DataError(f"None of the {len(whole.table)} photos of {self.data.name} can be read.")
        self.bench = replace(whole, table=whole.table.take(kept.indices)) if self.failed else whole
        self.names = self.classes or self.bench.classes

    @property
    def facts(self) -> Mapping[str, Any]:
        """Name, hash, sizes, names and templates; there is no hash where a photo cannot be read."""
        digest = None if self.failed else self.bench.digest()
        about = {
            "dataset": self.data.name,
            "data_hash": digest,
            "split": self.bench.split,
            "items": len(self.bench.table),
        }
        return {**about, "classes": list(self.names.names), "templates": list(self.names.templates)}

    def measure(self, slug: str, variant: str) -> Measured:
        """Fit, and count the pixels of every photo; chance draws one of the classes for each pixel."""
        if (slug, variant) == (CHANCE, ""):
            drawn = chance(self._labels())
            shares = {"pixel_accuracy": float(pixel_accuracy(drawn.sum(0)))}
            return over_seeds(lambda run: (drawn, shares), self.run, self.seeds, draws=False)
        system = catalog.find(slug)
        if not issubclass(system, Segmenter):
            raise UsageError(f"{slug} is no segmenter: see 'diptych systems --verb segment'.")
        kit, evidence = teach(system, self.backbone, lambda: self.photos or unlabelled_photos(), self.teacher)

        def once(run: Run) -> tuple[Stacked, Mapping[str, float]]:
            start = time.monotonic()
            fitted = system(**system.card.variants[variant]).fit(kit, self.names, evidence, replace(run, out=None))
            seconds = time.monotonic() - start
            found = counts(fitted, self.bench.table, run)
            return found, {"pixel_accuracy": float(pixel_accuracy(found.sum(0))), "fit_seconds": seconds}

        return over_seeds(once, self.run, self.seeds, draws=system.card.trains != "nothing")

    def _labels(self) -> Stacked:
        """Return the (N, K, K) counts of a segmenter that is always right."""
        masks = [np.asarray(mask) for mask in self.bench.table.columns["mask"].values]
        return np.stack([confusion(np.where(mask == IGNORE, 0, mask), mask, len(self.names)) for mask in masks])
