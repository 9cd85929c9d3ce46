"""Captioners on photos with human captions: CIDEr-D a photo, and BLEU-4, ROUGE-L and a judge's CLIPScore beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from diptych import catalog
from diptych.core import (
    Backbone,
    Captioner,
    DataError,
    Evidence,
    Kit,
    Run,
    Samples,
    Table,
    Text,
    TextPool,
    UnreadableItem,
)
from diptych.core.wording import none_readable
from diptych.data.keys import FileKeys
from diptych.data.load import open_data
from diptych.data.samples import openable
from diptych.evaluation.arms import MEANS, Arm, Floats, Measured, Statistic, over_seeds
from diptych.features import artefacts
from diptych.features.artefacts import About
from diptych.metrics.caption import bleu, cider_d, rouge_l
from diptych.tasks.judge import judge


@dataclass(frozen=True)
class CaptionedPhotos:
    """Readable photos with references, and the sentences that captioners learn from.

    Args:
        photos: N images.
        references: captions of each.
        texts: sentences; none of a held-out photo.
        failed: photos that cannot be read.
        train: photos with captions to learn from, none of them held out; None: there are sentences alone.
    """

    name: str
    photos: Samples[Any]
    references: tuple[tuple[str, ...], ...]
    texts: TextPool
    failed: tuple[UnreadableItem, ...]
    train: Table[Any] | None = None

    @property
    def hash(self) -> str:
        """SHA-256 of the photos' keys and of the sentences."""
        keys = [self.photos.key(i) for i in range(len(self.photos))]
        learnt = [t.value for texts in self.texts.texts.values() for t in texts]
        return hashlib.sha256("\0".join([*keys, *learnt]).encode()).hexdigest()


def captioned_photos(path: str, columns: str, texts: TextPool | None, keys: FileKeys | None = None) -> CaptionedPhotos:
    """Open a table of captioned photos: test or val is captioned; the captions of train are learnt from, unless there
    are other texts.

    Raises:
        DataError: there is neither a train split nor texts, no other split is there, or no photo can be read.
    """
    data = open_data(path, keys, need="captions", text=columns)
    split = next((s for s in ("test", "val") if s in data.splits), "" if texts is None else next(iter(data.splits)))
    if not split or (texts is None and "train" not in data.splits):
        raise DataError(
            f"{path} has no train split to learn from and another to measure on: add a column 'split', or "
            f"give {{texts}}."
        )
    train = data.split("train") if texts is None else None
    if texts is None:
        learnt = dict.fromkeys(t for captions in data.split("train").columns["captions"].values for t in captions)
        texts = TextPool({"": tuple(Text(t, writer=Path(path).name) for t in learnt)})
    table = data.split(split)
    photos, failed = openable(table.items)
    if not len(photos):
        raise DataError(none_readable(len(table), "photos", failed, f" of {path}"))
    references = tuple(tuple(table.columns["captions"].values[i]) for i in photos.indices)
    return CaptionedPhotos(data.name, photos, references, texts, tuple(failed), train)


SpoilCaptions: TypeAlias = Callable[[Any, Samples[Any], Run], list[str]]
"""(fitted captioner, photos, run) -> one caption per photo, in place of its own."""


def first_captions(fitted: Any, photos: Samples[Any], run: Run) -> list[str]:
    """Return the best caption of each photo; "" where there is none."""
    return [captions[0].value if captions else "" for captions in fitted.caption(photos, run)]


@dataclass(frozen=True)
class CaptionBench:
    """How captioners are measured.

    Args:
        by: the judge; None: there is no CLIPScore.
        unit: what CIDEr-D is divided by: 10 makes a share of it.
    """

    data: CaptionedPhotos
    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    by: Backbone | None = None
    unit: float = 1.0
    metric: str = "cider_d"
    statistic: Statistic = MEANS
    always: tuple[Arm, ...] = (Arm("nearest-caption"),)
    fits: dict[tuple[Any, int], Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def failed(self) -> tuple[UnreadableItem, ...]:
        """Photos that cannot be read."""
        return self.data.failed

    @property
    def facts(self) -> Mapping[str, Any]:
        """Name, hash, sizes and judge."""
        learnt = sum(len(texts) for texts in self.data.texts.texts.values())
        sizes = {"dataset": self.data.name, "data_hash": self.data.hash, "items": len(self.data.photos)}
        return {**sizes, "sentences": learnt, "judge": self.by.spec.name if self.by else None}

    def measure(self, arm: Arm) -> Measured:
        """Caption every photo, once per seed where something is drawn; arms that spoil the captions share one fit."""
        if arm.loaded is not None:
            ready = arm.loaded.fitted
            return over_seeds(lambda run: self._scored(ready, first_captions, run), self.run, self.seeds, draws=False)
        method = arm.system
        if isinstance(method, str):
            method = catalog.row(catalog.find(arm.system, Captioner), arm.variant)
        captions: SpoilCaptions = arm.spoil or first_captions

        def once(run: Run) -> tuple[Floats, Mapping[str, float]]:
            key = method, run.seed
            if key not in self.fits:
                self.fits[key] = method.fit(
                    Kit({"main": self.backbone}), Evidence(train=self.data.train, texts=self.data.texts), run
                )
            return self._scored(self.fits[key], captions, run)

        draws = bool(arm.spoil) or method.card.seeded
        return over_seeds(once, self.run, self.seeds, draws=draws)

    def read(self, folder: Path, about: About) -> Any:
        """Return the captioner of a folder; raises UsageError where it was fitted on another backbone."""
        return artefacts.load(folder, Kit.of(self.backbone))

    def _scored(self, fitted: Any, captions: SpoilCaptions, run: Run) -> tuple[Floats, Mapping[str, float]]:
        """Return CIDEr-D of each photo, and the numbers beside it."""
        best, references = captions(fitted, self.data.photos, run), self.data.references
        others = {"bleu4": bleu(best, references), "rouge_l": float(rouge_l(best, references).mean())}
        if self.by is not None:
            others["clip_score"] = judge(self.data.photos, best, self.backbone, self.by, run)
        return cider_d(best, references) / self.unit, others
