"""Boards of verbs in a few lines: ``detect``, ``retrieve``, ``caption``, ``curate`` and ``extend``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import UsageError
from diptych.core.ranges import at_least, between
from diptych.verbs import kinds
from diptych.verbs.arguments import NAMES, argument
from diptych.verbs.board.board import DATA, OFFERS, SystemsBoard, classes_of, fitted_folders, the_same
from diptych.verbs.curate.plan import CuratePlan
from diptych.verbs.detect import Detect
from diptych.verbs.photos import naming

if TYPE_CHECKING:
    from diptych.core import Backbone
    from diptych.evaluation.arms import Arm
    from diptych.evaluation.boards.caption import CaptionBench
    from diptych.evaluation.boards.curate import CurateBench
    from diptych.evaluation.boards.detect import AnomalyBench
    from diptych.evaluation.boards.extend import ExtendBench
    from diptych.evaluation.boards.retrieve import RecordBench
    from diptych.verbs.board.board import Loader
    from diptych.verbs.context import Context
    from diptych.verbs.names import NamesLike


@dataclass(frozen=True, kw_only=True)
class BoardDetect(SystemsBoard):
    """Run every detector on normal and anomalous photos; a third of the normal train photos sets the threshold."""

    name: ClassVar[str] = "board detect"
    examples: ClassVar[tuple[str, ...]] = (
        "board detect bottle/ --false-alarm-rate 0.05",
        "board detect bottle/ --methods patch-memory,winclip-style --seeds 1",
    )
    systems_of: ClassVar[str] = "detect"
    every: ClassVar[bool] = True
    out: ClassVar[str] = "out/board-detect"

    data: str | PathLike[str] = argument(
        "A folder of MVTec's layout: train/good, test/good, test/KIND ...", DATA, positional=True
    )
    thing: str | None = the_same(Detect, "thing", None)
    auxiliary: str | PathLike[str] | None = the_same(Detect, "auxiliary", None)
    rate: float = argument(
        "Share of normal photos that a threshold may flag.",
        default=0.1,
        flag="--false-alarm-rate",
        range=between(0, 1, "()"),
    )
    fitted: Any = fitted_folders()

    def bench(self, context: Context, load: Loader, notes: list[str]) -> AnomalyBench:
        """Open the photos, then the backbone."""
        from diptych.evaluation.boards.detect import AnomalyBench
        from diptych.evaluation.datasets import open_set, thing_of

        photos = open_set(os.fspath(self.data), "anomalies", context.keys)
        known = None if self.auxiliary is None else open_set(os.fspath(self.auxiliary), "anomalies", context.keys)
        thing, backbone = self.thing or thing_of(photos.name), load()
        return AnomalyBench.open(
            photos, backbone, context.run(), self.draws, thing=thing, rate=self.rate,
            auxiliary=None if known is None else known.split("test"),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class BoardRetrieve(SystemsBoard):
    """Run every retriever that trains no tower: each third of the entities is searched in turn, the others train it."""

    name: ClassVar[str] = "board retrieve"
    examples: ClassVar[tuple[str, ...]] = (
        "board retrieve records.csv --entity product",
        "board retrieve grocery_packages --methods clippings --seeds 1",
    )
    systems_of: ClassVar[str] = "retrieve"
    every: ClassVar[bool] = True
    out: ClassVar[str] = "out/board-retrieve"

    data: str | PathLike[str] = argument(
        "A table of records with a column that says what each is of, or grocery_packages.", DATA, positional=True
    )
    entity: str = argument("Column that says what a record shows: records with the same value match.", default="entity")
    image: str | None = argument("Column with the picture's path.", default=None)
    text: str | None = argument("Column with the text.", default=None, flag="--text-column")
    fitted: Any = fitted_folders()

    def without(self) -> Sequence[Arm]:
        """Return the retrievers that train a tower."""
        from diptych.evaluation.boards.retrieve import SLOW

        return SLOW

    def bench(self, context: Context, load: Loader, notes: list[str]) -> RecordBench:
        """Open the records, then the backbone."""
        from diptych.evaluation.boards.retrieve import RecordBench
        from diptych.evaluation.datasets import open_linkage

        columns = {"image": self.image or "", "text": self.text or ""}
        records = open_linkage(os.fspath(self.data), self.entity, context.keys, **columns)
        return RecordBench(records, load(), context.run(), self.draws)


@dataclass(frozen=True, kw_only=True)
class BoardCaption(SystemsBoard):
    """Caption the test (or val) photos by every captioner; gains over the nearest sentence."""

    name: ClassVar[str] = "board caption"
    examples: ClassVar[tuple[str, ...]] = (
        "board caption photos/captions.csv",
        "board caption photos/captions.csv --methods maccap --seeds 1",
    )
    systems_of: ClassVar[str] = "caption"
    out: ClassVar[str] = "out/board-caption"

    table: str | PathLike[str] = argument("A table of photos with human captions.", DATA, positional=True)
    references: str = argument("Its columns of captions.", default="caption*")
    texts: Any = argument("Sentences to learn from (default: the captions of the train split).", kinds.SENTENCES, None)
    judge: str | Backbone | None = argument(
        "Another backbone, which gives CLIPScore.", kinds.Kind(str | None), None, panel="Model"
    )
    fitted: Any = fitted_folders()

    def bench(self, context: Context, load: Loader, notes: list[str]) -> CaptionBench:
        """Open the photos, then the backbone."""
        from diptych.evaluation.boards.caption import CaptionBench, captioned_photos
        from diptych.verbs.names import texts_of

        with naming(text="references"):
            data = captioned_photos(
                os.fspath(self.table), self.references, texts_of(self.texts, sentences=True), context.keys
            )
        backbone, judge = load(), context.model(self.judge) if self.judge else None
        return CaptionBench(data, backbone, context.run(), self.draws, judge)


@dataclass(frozen=True, kw_only=True)
class BoardCurate(SystemsBoard):
    """Run every curator on captioned photos, some with swapped captions; gains are over a random choice of as many
    pairs.
    """

    name: ClassVar[str] = "board curate"
    examples: ClassVar[tuple[str, ...]] = (
        "board curate photos/captions.csv",
        "board curate photos/captions.csv --wrong 0.5 --keep 0.3",
    )
    systems_of: ClassVar[str] = "curate"
    out: ClassVar[str] = "out/board-curate"

    data: str | PathLike[str] = argument("A table of photos with captions.", DATA, positional=True)
    captions: str = argument("Its columns of captions.", default="caption*")
    wrong: float = argument("Share of the pairs whose captions are swapped.", default=0.3)
    keep: float = argument("Share of the pairs that is kept.", default=0.5)
    metadata: str | Path = the_same(CuratePlan, "metadata", "wordnet")
    head: str | Path | None = argument(
        "A head that 'curate head' wrote, by whose scores pairs are kept.", kinds.FILE, None
    )

    def bench(self, context: Context, load: Loader, notes: list[str]) -> CurateBench:
        """Open the pairs, then the backbone."""
        from diptych.evaluation.boards.caption_pool import caption_pool
        from diptych.evaluation.boards.curate import CurateBench

        with naming(text="captions"):
            pool = caption_pool(os.fspath(self.data), self.captions, self.wrong, self.keep, context.keys)
        return CurateBench(pool, load(), context.run(), self.draws, str(self.metadata), head=str(self.head or ""))


@dataclass(frozen=True, kw_only=True)
class BoardExtend(SystemsBoard):
    """Fit every extender on labelled clips and classify the held-out ones; gains are over the mean of the frames."""

    name: ClassVar[str] = "board extend"
    examples: ClassVar[tuple[str, ...]] = (
        "board extend clips/ --frames 4",
        "board extend clips/ --fitted clip-model/",
    )
    systems_of: ClassVar[str] = "extend"
    out: ClassVar[str] = "out/board-extend"
    run_options: ClassVar[Mapping[str, Any]] = {"engine": "torch"}
    offers: ClassVar[tuple[str, ...]] = tuple(name for name in OFFERS if name != "engine")

    clips: str | PathLike[str] = argument(
        "A folder with train and test (or val): CLASS/CLIP. Or point clouds, or light curves with classes.", DATA,
        positional=True,
    )  # fmt: skip
    names: NamesLike = argument(NAMES, kinds.NAMES, None)
    template: str = argument("One prompt with {}.", default="a photo of a {}.")
    frames: int = argument("Frames sampled from each clip.", default=8, range=at_least(1))
    fitted: Any = fitted_folders()

    def bench(self, context: Context, load: Loader, notes: list[str]) -> ExtendBench:
        """Open the samples, then the backbone."""
        from diptych.data.format import Request
        from diptych.data.modalities import CLIPS, modality_of
        from diptych.evaluation.boards.extend import ExtendBench
        from diptych.tasks.extenders import classes_of as of_table

        clips = str(os.fspath(self.clips))
        kind = modality_of(clips) or CLIPS
        data = kind.open([clips], Request(keys=context.keys, frames=self.frames))
        if not kind.named and self.names:
            raise UsageError("Classes of light curves are those of their table: leave out {names}.")
        classes, remarks = (
            classes_of(self.names, data.classes, [self.template]) if kind.named else (of_table(data, kind), [])
        )
        notes += remarks
        return ExtendBench.open(data, classes, load(), context.run(), self.draws, self.frames, kind)
