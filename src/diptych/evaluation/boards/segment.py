"""Segmenters on photos with label maps: mIoU of the whole set, and beside it the share of pixels that are right."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych import catalog
from diptych.backbones.mask_models.sam import SamMasks
from diptych.backbones.sources.proposers import AUTO
from diptych.core import (
    Backbone,
    ClassNames,
    DataError,
    Evidence,
    FittedSegmenter,
    Kit,
    PromptableMasks,
    Run,
    Samples,
    Segmenter,
    UsageError,
)
from diptych.core.void import NARROW, void_of
from diptych.core.wording import none_readable
from diptych.data.labelled import LabelledData
from diptych.data.samples import openable
from diptych.data.words.classnames import tidy
from diptych.data.words.templates import ENSEMBLE
from diptych.evaluation.arms import CHANCE, Arm, Loaded, Measured, Statistic, over_seeds
from diptych.evaluation.datasets import captioned_photos, unlabelled_photos
from diptych.evaluation.small_sam import iou_in_boxes, objects_of, small_sam
from diptych.evaluation.spoils import applied, draws_by_seed
from diptych.features import artefacts
from diptych.features.artefacts import About
from diptych.metrics.estimate import Interval
from diptych.metrics.mask_ap import mask_ap
from diptych.metrics.panoptic import mean_pq
from diptych.metrics.segmentation import (
    chance,
    confusion,
    miou_difference,
    miou_gain,
    miou_interval,
    pixel_accuracy,
    totals,
)
from diptych.tasks.label_maps.fitted_segmenter import of_classes, parts_of_folder
from diptych.tasks.label_maps.question import Question, question
from diptych.tasks.label_maps.segmented import BACKGROUND
from diptych.tasks.segment import TEACHER, counts, segment_counts, teach

SIDE, PATCH = 256, 16
"""Of the small SAM's input and of a patch of it, in pixels."""
Stacked = NDArray[np.int64] | NDArray[np.float64]


def _miou(counts: Stacked, _: int) -> Interval:
    return miou_interval(counts)


MIOU = Statistic(_miou, miou_difference, miou_gain)
"""Counts of (R, N, K, K) pixels are added up over images, and divided once."""


@dataclass
class MaskBench:
    """How segmenters are measured: on the test split, or else val.

    Args:
        classes: other names and templates for the same K classes; None: the data set's, with the ensemble.
        photos: without labels, for systems that learn from some; None: those of ``unlabelled_photos``.
        teacher: image encoder that teaches, where a system asks for one.
        background: words for the class "background", which the data set must have; (): its own name.
        threshold: pixels whose best probability lies below it are background, which must be a class; None: none are.
        proposer: mask proposer, where a system asks for one; "auto" is the system's own choice.
        masks: SAM, where a system needs one; None: a small one learns from the train split, see ``small_sam``, and
            without that split such systems do not fit.
        most: photos that are measured, those whose content keys are the least, >= 1; None: all.
        settings: of every system that has them, such as {"windows": Windows(64, 64, 64)}.
        prepared: parts and evidence of all systems; None: what each asks for.
        about: what the result says beside names, hash and sizes.

    Raises:
        UsageError: another number of names than classes, or words or a threshold for a background that is no class.
        DataError: no photo can be read.
    """

    data: LabelledData
    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    classes: ClassNames | None = None
    photos: Samples[Any] | None = None
    teacher: str = TEACHER
    background: tuple[str, ...] = ()
    threshold: float | None = None
    proposer: str = AUTO
    masks: str | None = None
    most: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    prepared: tuple[Kit, Evidence[Any]] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "miou"
    statistic: Statistic = MIOU
    always: tuple[Arm, ...] = (Arm("maskclip"), Arm(CHANCE))

    def __post_init__(self) -> None:
        if self.classes is not None and len(self.classes) != len(self.data.classes):
            wanted, given = len(self.data.classes), len(self.classes)
            raise UsageError(
                f"{self.data.name} has {wanted} classes, and {given} names were given: give one per class, in order."
            )
        self.split = "test" if "test" in self.data.splits else "val"
        whole = self.data.split(self.split)
        readable, self.failed = openable(whole.items)
        if not len(readable):
            raise DataError(none_readable(len(whole), "photos", self.failed, f" of {self.data.name}"))
        self.table = whole.take(readable.indices) if self.failed else whole
        if self.most is not None and self.most < len(self.table):
            drawn = sorted(range(len(self.table)), key=self.table.items.key)[: self.most]
            self.table = self.table.take(sorted(drawn))
        self.names = self._named()

    @property
    def facts(self) -> Mapping[str, Any]:
        """Name, hash, sizes, names and templates; there is no hash where a photo cannot be read."""
        about = {
            "dataset": self.data.name,
            "data_hash": None if self.failed else self._digest(),
            "split": self.split,
            "items": len(self.table),
        }
        about |= {} if self.most is None else {"least_keys_of": len(self.data.split(self.split)) - len(self.failed)}
        rules = {k: v for k, v in (("background", list(self.background)), ("threshold", self.threshold)) if v}
        words = {"words": [list(w) for w in self.names.words]} if self.names.words else {}
        names = {"classes": list(self.names.names), "templates": list(self.names.templates)}
        return {**about, **names, **words, **rules, **self.about}

    def measure(self, arm: Arm) -> Measured:
        """Fit, and count the pixels of every photo; chance draws one of the classes for each pixel."""
        if arm.system == CHANCE:
            drawn = chance(self._labels())
            shares = {"pixel_accuracy": float(pixel_accuracy(drawn.sum(0)))}
            return over_seeds(lambda run: (drawn, shares), self.run, self.seeds, draws=False)
        if arm.loaded is not None:
            return self._loaded(arm.loaded)
        system = catalog.find(arm.system, Segmenter)
        kit, given = self.given(system)
        method: Any = catalog.row(system, arm.variant)
        method = replace(method, **{n: value for n, value in self.settings.items() if hasattr(method, n)})
        masks = self._drawn(kit) if self.masks is None and "masks" in kit.parts else {}

        def once(run: Run) -> tuple[Stacked, Mapping[str, float]]:
            chosen, classes, evidence = applied(arm.spoil, method, self.names, given, run)
            query = self._question(classes, chosen)
            start = time.monotonic()
            fitted = chosen.fit(kit, query.fit_classes, evidence, replace(run, out=None))
            seconds = time.monotonic() - start
            stacked, shares = self._counted(fitted, query, run)
            return stacked, {"fit_seconds": seconds, **masks, **shares}

        return over_seeds(once, self.run, self.seeds, draws=draws_by_seed(arm.spoil, system.card))

    def read(self, folder: Path, about: About) -> FittedSegmenter:
        """Return the segmenter of a folder, for the classes of the data.

        Raises:
            UsageError: it was fitted on another backbone, or answers for other classes alone.
        """
        defaults = {"teacher": TEACHER, "proposer": AUTO}
        parts = parts_of_folder(about, {"teacher": self.teacher, "proposer": self.proposer}, defaults)
        system = type(about.system)
        kit, _ = teach(system, self.backbone, lambda: None, parts["teacher"], parts["proposer"], self.masks)
        query = self._question(self.names, about.system).fit_classes
        return of_classes(artefacts.load(folder, kit), query, self.run, about.slug)

    def _loaded(self, loaded: Loaded) -> Measured:
        """Measure a segmenter that was fitted before; nothing is drawn."""
        query = self._question(self.names, loaded.about.system)
        return over_seeds(lambda run: self._counted(loaded.fitted, query, run), self.run, self.seeds, draws=False)

    def _question(self, classes: ClassNames, method: Segmenter) -> Question:
        return replace(question(classes, method), threshold=self.threshold, rest=self._rest())

    def _counted(self, fitted: FittedSegmenter, question: Question, run: Run) -> tuple[Stacked, Mapping[str, float]]:
        """Return the counts of every photo, and the numbers beside mIoU."""
        start = time.monotonic()
        stacked = counts(fitted, self.table, run, question)
        rate = len(self.table) / max(1e-9, time.monotonic() - start)
        shares = {"pixel_accuracy": float(pixel_accuracy(stacked.sum(0))), "images_a_second": rate}
        return stacked, {**shares, **self._panoptic(fitted, question, run)}

    def given(self, system: type[Segmenter]) -> tuple[Kit, Evidence[Any]]:
        """Return the parts and the evidence that a system asks for, or those that were prepared."""
        return self.prepared or teach(
            system,
            self.backbone,
            lambda: self.photos or unlabelled_photos(),
            self.teacher,
            self.proposer,
            self.masks or self._learnt(system),
            labelled=lambda: self.data["train"] if "train" in self.data.splits else None,
            captioned=captioned_photos,
        )

    def _learnt(self, system: type[Segmenter]) -> SamMasks | None:
        """Return a SAM that learnt from the label maps of the train split, where a system needs one."""
        if "PromptableMasks" not in system.card.needs.parts or "train" not in self.data.splits:
            return None
        table = self.data["train"]
        objects = [objects_of(np.asarray(m)) for m in table.columns["mask"].values]
        rows = [i for i, masks in enumerate(objects) if len(masks)]
        return small_sam(table.take(rows).items, [objects[i] for i in rows], SIDE, PATCH, run=self.run)

    def _drawn(self, kit: Kit) -> Mapping[str, float]:
        """Return how well a SAM draws the objects of the measured photos in their boxes."""
        objects = [objects_of(np.asarray(m)) for m in self.table.columns["mask"].values]
        return {"sam_iou_in_boxes": iou_in_boxes(kit.need(PromptableMasks, "masks"), self.table.items, objects)}

    def _named(self) -> ClassNames:
        """Return the names with their words and marks of things, those of the data set where none were given."""
        data, names = self.data, self.classes or ClassNames(tuple(tidy(c) for c in self.data.classes), ENSEMBLE)
        if not names.words and data.words and names.names == tuple(map(tidy, data.classes)):
            names = replace(names, words=tuple((n, *w[1:]) for n, w in zip(names.names, data.words, strict=True)))
        if not names.things and data.things:
            names = replace(names, things=data.things)
        if not self.background and self.threshold is None:
            return names
        if BACKGROUND not in names.names:
            raise UsageError(f"{data.name} has no class {BACKGROUND!r}, so words and a threshold for it mean nothing.")
        words = names.words or tuple((n,) for n in names.names)
        at = names.names.index(BACKGROUND)
        return replace(names, words=(*words[:at], self.background or words[at], *words[at + 1 :]))

    def _rest(self) -> int:
        return self.names.names.index(BACKGROUND) if self.threshold is not None else 0

    def _panoptic(self, fitted: FittedSegmenter, question: Question, run: Run) -> Mapping[str, float]:
        """Return PQ of all classes, of things and of stuff, and mask AP of things, where there are panoptic maps."""
        if "panoptic" not in self.table.columns:
            return {}
        counted, matches = segment_counts(fitted, self.table, run, question)
        summed = counted.sum(0)
        things = np.array(question.classes.things or (False,) * len(question.classes))
        return {
            "pq": mean_pq(summed),
            "pq_things": mean_pq(summed, things),
            "pq_stuff": mean_pq(summed, ~things),
            "mask_ap": mask_ap(matches),
        }

    def _labels(self) -> Stacked:
        """Return the (N, K, K) counts of a segmenter that is always right, or their totals of more than 255 classes."""
        size, masks = len(self.names), (np.asarray(mask) for mask in self.table.columns["mask"].values)
        right = (confusion(np.where(mask == void_of(size), 0, mask), mask, size) for mask in masks)
        return np.stack([totals(pixels) if size > NARROW else pixels for pixels in right])

    def void_share(self) -> float:
        """Return the share of the measured pixels that have no class, in [0, 1]."""
        void = total = 0
        for mask in map(np.asarray, self.table.columns["mask"].values):
            void, total = void + int((mask == void_of(len(self.names))).sum()), total + mask.size
        return void / max(1, total)

    def _digest(self) -> str:
        """Return the hash of photos, classes and masks."""
        digest = hashlib.sha256(self.data.hash.encode())
        for mask in self.table.columns["mask"].values:
            digest.update(np.ascontiguousarray(mask).tobytes())
        return digest.hexdigest()
