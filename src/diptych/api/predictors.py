"""What the ``fit`` of ``diptych.systems`` returns beside classifiers: segmenters, detectors and captioners."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from diptych.api import keeping
from diptych.api.declared import gathered
from diptych.api.model import Model
from diptych.api.results import Results
from diptych.core import (
    Captioner,
    Detector,
    FittedCaptioner,
    FittedDetector,
    FittedSegmenter,
    Run,
    Segmenter,
    Table,
)
from diptych.data.samples import as_samples
from diptych.tasks.caption import Captions, captioned
from diptych.tasks.classify import with_store
from diptych.tasks.detect import Detected, Ready, detections
from diptych.tasks.label_maps.question import Question
from diptych.tasks.label_maps.segmented import Segmented
from diptych.tasks.segment import TEACHER, segmented
from diptych.verbs.caption import CaptionRequest, Sentences
from diptych.verbs.detect import Anomalies, Detect
from diptych.verbs.label_maps import LabelMaps
from diptych.verbs.segment import Segment


@dataclass(frozen=True)
class SegmentPredictor:
    """A fitted segmenter with its model."""

    fitted: FittedSegmenter
    model: Model
    run: Run
    slug: str = ""
    method: Segmenter | None = None
    teacher: str = TEACHER

    def save(self, folder: str | Path) -> None:
        """Write the segmenter to a new folder, which ``load`` and ``segment --fitted`` read."""
        keeping.save(self.fitted, folder, self.method, named=self.fitted.classes, teacher=self.teacher)

    def segment(self, photos: object) -> Results[Segmented]:
        """Say what lies where on each photo; all label maps are held in memory."""
        table, query = Table(as_samples(photos)), Question.plain(self.fitted.classes)
        maps = LabelMaps(Segment(photos=photos), self.slug, self.fitted.classes, query, table)
        maps.start(segmented(self.fitted, table.items, query, self.run))
        return gathered(maps)


@dataclass(frozen=True)
class AnomalyPredictor:
    """A fitted detector with its model."""

    fitted: FittedDetector
    model: Model
    run: Run
    slug: str = ""
    method: Detector | None = None

    def save(self, folder: str | Path) -> None:
        """Write the detector to a new folder, which ``load`` and ``detect --fitted`` read."""
        keeping.save(self.fitted, folder, self.method)

    def detect(self, photos: object) -> Results[Detected]:
        """Score photos: higher is more anomalous."""
        table = Table(as_samples(photos))
        scores = detections(Ready(self.fitted), table.items, self.run)
        return gathered(Anomalies(Detect(photos=photos), scores, self.model.spec.name, self.slug, table))


@dataclass(frozen=True)
class CaptionPredictor:
    """A fitted captioner with its model."""

    fitted: FittedCaptioner
    model: Model
    run: Run
    method: Captioner | None = None

    def save(self, folder: str | Path) -> None:
        """Write the captioner to a new folder, which ``load`` and ``caption --fitted`` read."""
        keeping.save(self.fitted, folder, self.method)

    def caption(self, photos: object, n: int = 1, user: str | None = None) -> Results[Captions]:
        """Write at most n captions of each photo, the best first; as ``user`` does, by a captioner with users."""
        samples = as_samples(photos)
        fitted = self.fitted if user is None else self.fitted.for_user(user)
        with with_store(self.run) as stored:
            result = captioned(fitted, samples, self.model, stored, n)
        slug = type(fitted).__name__ if self.method is None else self.method.card.slug
        about: CaptionRequest = {
            "metrics": {}, "judge": None, "method": slug, "variant": "", "settings": {}, "user": user,
            "backbone": self.model.spec.name, "seed": self.run.seed,
        }  # fmt: skip
        return gathered(Sentences(result, about, samples))
