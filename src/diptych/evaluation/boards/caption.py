"""Captioners on photos with human captions: CIDEr-D a photo, and BLEU-4, ROUGE-L and a judge's CLIPScore beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych import catalog
from diptych.core.backbone import Backbone
from diptych.core.caption import Captioner
from diptych.core.data import Evidence, Samples, Text, TextPool
from diptych.core.errors import DataError, UnreadableItem, UsageError
from diptych.core.run import Run
from diptych.data.keys import FileKeys
from diptych.data.load import open_data
from diptych.evaluation.boards.bench import MEANS, Floats, Job, Measured, Statistic, over_seeds
from diptych.metrics.caption import cider_d
from diptych.tasks.caption import caption, judge, measure
from diptych.tasks.detect import openable


@dataclass(frozen=True)
class CaptionedPhotos:
    """Readable photos with references, and the sentences that captioners learn from.

    Args:
        name: of the data set.
        photos: N images.
        references: captions of each.
        texts: sentences; none of a held-out photo.
        failed: photos that cannot be read.
    """

    name: str
    photos: Samples[Any]
    references: tuple[tuple[str, ...], ...]
    texts: TextPool
    failed: tuple[UnreadableItem, ...]


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
            f"{path} has no train split to learn from and another to measure on: add a column 'split', or give --texts."
        )
    if texts is None:
        learnt = dict.fromkeys(t for own in data.split("train").columns["captions"].values for t in own)
        texts = TextPool({"": tuple(Text(t, writer=Path(path).name) for t in learnt)})
    table = data.split(split)
    photos, failed = openable(table.items)
    if not len(photos):
        raise DataError(
            f"None of the {len(table)} photos of {path} can be read; the first: "
            f"{failed[0] if failed else 'there is none'}."
        )
    references = tuple(tuple(table.columns["captions"].values[i]) for i in photos.indices)
    return CaptionedPhotos(data.name, photos, references, texts, tuple(failed))


@dataclass(frozen=True)
class CaptionBench:
    """How captioners are measured.

    Args:
        data: photos, references and sentences.
        backbone: of all captioners.
        run: device and cache.
        seeds: of trainings.
        by: the judge; None: there is no CLIPScore.
    """

    data: CaptionedPhotos
    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    by: Backbone | None = None
    metric: str = "cider_d"
    statistic: Statistic = MEANS
    always: tuple[Job, ...] = (("nearest-caption", ""),)

    @property
    def failed(self) -> tuple[UnreadableItem, ...]:
        """Photos that cannot be read."""
        return self.data.failed

    @property
    def facts(self) -> Mapping[str, Any]:
        """Name, sizes and judge."""
        learnt = sum(len(own) for own in self.data.texts.texts.values())
        sizes = {"dataset": self.data.name, "items": len(self.data.photos), "sentences": learnt}
        return {**sizes, "judge": self.by.spec.name if self.by else None}

    def measure(self, slug: str, variant: str) -> Measured:
        """Caption every photo, once a seed where something is trained."""
        system = catalog.find(slug)
        if not issubclass(system, Captioner):
            raise UsageError(f"{slug} is no captioner: see 'diptych systems --verb caption'.")
        method = system(**system.card.variants[variant])

        def once(run: Run) -> tuple[Floats, Mapping[str, float]]:
            found = caption(self.data.photos, Evidence(texts=self.data.texts), self.backbone, run, method=method)
            best = [own[0].value if own else "" for own in found.captions]
            others = {name: value for name, value in measure(best, self.data.references).items() if name != self.metric}
            if self.by is not None:
                others["clip_score"] = judge(self.data.photos, best, self.backbone, self.by, run)
            return cider_d(best, self.data.references), others

        return over_seeds(once, self.run, self.seeds, draws=method.card.trains != "nothing")
