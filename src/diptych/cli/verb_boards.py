"""``diptych board`` of caption, curate, detect, extend, finetune, pretrain, retrieve and segment: what each verb
opens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import finetune, options
from diptych.cli.bench_command import Shared, board_command
from diptych.cli.curate import Metadata
from diptych.cli.detect import Auxiliary, Thing
from diptych.cli.segment import Teacher

if TYPE_CHECKING:
    from diptych.evaluation.boards.bench import Job
    from diptych.evaluation.boards.caption import CaptionBench
    from diptych.evaluation.boards.curate import CurateBench
    from diptych.evaluation.boards.detect import AnomalyBench
    from diptych.evaluation.boards.extend import ExtendBench
    from diptych.evaluation.boards.retrieve import RecordBench
    from diptych.evaluation.boards.segment import MaskBench
    from diptych.evaluation.boards.tune import TuneBench


@board_command("caption")
def board_caption(
    shared: Shared,
    table: Annotated[str, typer.Argument(help="A table of photos with human captions.", show_default=False)],
    references: Annotated[str, options.option("--references", help="Its columns of captions.")] = "caption*",
    texts: Annotated[
        str | None,
        options.option(
            "--texts", help="Sentences to learn from (default: the captions of the train split).", show_default=False
        ),
    ] = None,
    judge: Annotated[
        str | None,
        options.option(
            "--judge", help="Another backbone, which gives CLIPScore.", show_default=False, rich_help_panel="Model"
        ),
    ] = None,
) -> CaptionBench:
    """Caption the test (or val) photos by every captioner; gains over the nearest sentence."""
    from diptych.data.captions import read_sentences
    from diptych.evaluation.boards.caption import CaptionBench, captioned_photos

    opened = captioned_photos(table, references, read_sentences(texts) if texts else None, shared.keys)
    backbone, run = shared.open()
    return CaptionBench(opened, backbone, run, shared.numbers, options.open_backbone(judge, run) if judge else None)


@board_command("curate")
def board_curate(
    shared: Shared,
    data: Annotated[str, typer.Argument(help="A table of photos with captions.", show_default=False)],
    captions: Annotated[str, options.option("--captions", help="Its columns of captions.")] = "caption*",
    wrong: Annotated[float, options.option("--wrong", help="Share of the pairs whose captions are exchanged.")] = 0.3,
    keep: Annotated[float, options.option("--keep", help="Share of the pairs that is kept.")] = 0.5,
    metadata: Metadata = "wordnet",
) -> CurateBench:
    """Curate captioned photos, some with exchanged captions, by every curator; gains over as many pairs at random."""
    from diptych.evaluation.boards.curate import CurateBench, caption_pool

    opened = caption_pool(data, captions, wrong, keep, shared.keys)
    return CurateBench(opened, *shared.open(), shared.numbers, metadata)


@board_command("detect", every=True)
def board_detect(
    shared: Shared,
    data: Annotated[
        str, typer.Argument(help="A folder of MVTec's layout: train/good, test/good, test/KIND ...", show_default=False)
    ],
    thing: Thing = None,
    auxiliary: Auxiliary = None,
    rate: Annotated[
        float, options.option("--rate", help="False alarms a normal photo, to which thresholds are set.")
    ] = 0.1,
) -> AnomalyBench:
    """Run every detector on normal and anomalous photos; a third of the normal train photos hold the rate of false
    alarms.
    """
    from diptych.evaluation.boards.detect import AnomalyBench
    from diptych.evaluation.datasets import open_set, thing_of

    opened = open_set(data, "anomalies", shared.keys)
    known = None if auxiliary is None else open_set(auxiliary, "anomalies", shared.keys).split("test")
    spoken = thing or thing_of(opened.name)
    return AnomalyBench.open(opened, *shared.open(), shared.numbers, thing=spoken, rate=rate, auxiliary=known)


@board_command("extend", engine="torch")
def board_extend(
    shared: Shared,
    clips: Annotated[
        str, typer.Argument(help="A folder with train and test (or val): CLASS/CLIP.", show_default=False)
    ],
    names: options.Names = None,
    template: Annotated[str, options.option("--template", help="One prompt with {}.")] = "a photo of a {}.",
    frames: Annotated[int, options.option("--frames", help="Frames looked at in each clip.", min=1)] = 8,
) -> ExtendBench:
    """Fit every extender on labelled clips and name the held ones; gains over the mean of the frames."""
    from diptych.core.data import ClassNames
    from diptych.data.load import open_data
    from diptych.evaluation.boards.extend import ExtendBench, only_readable

    data = open_data(clips, shared.keys, need="clips", frames=frames)
    spoken = ClassNames(options.class_names(names, data.classes), (template,))
    backbone, run = shared.open()
    data, failed = only_readable(data, backbone, frames, run)
    return ExtendBench(data, spoken, backbone, run, shared.numbers, frames, failed)


@board_command("finetune", engine="torch")
def board_finetune(
    shared: Shared,
    data: finetune.Data,
    parts: finetune.PartsChoice = "heads",
    also: finetune.Also = None,
    templates: options.Templates = None,
    captions: finetune.Captions = None,
    lr: finetune.Rate = None,
    epochs: finetune.Epochs = 10,
    train_batch: finetune.Rows = 64,
    decay: finetune.Decay = 0.0,
) -> TuneBench:
    """Fine-tune by every system from the same start, and measure the held-out rows; gains over the backbone before."""
    return _tuned(shared, data, captions, parts, also, (lr, train_batch, epochs, decay), templates=templates)


@board_command("pretrain", engine="torch")
def board_pretrain(
    shared: Shared,
    table: finetune.Data,
    rewrites: Annotated[
        str | None,
        options.option(
            "--rewrites",
            help="Other wordings of captions, for laclip: a .json pool or recorded .jsonl.",
            show_default=False,
        ),
    ] = None,
    parts: finetune.PartsChoice = "heads",
    also: finetune.Also = None,
    captions: finetune.Captions = None,
    lr: finetune.Rate = None,
    epochs: finetune.Epochs = 10,
    train_batch: finetune.Rows = 128,
    decay: finetune.Decay = 0.2,
) -> TuneBench:
    """Train by every objective from the same start on captioned photos, and measure the held-out ones; gains over the
    backbone before.
    """
    kit: dict[str, Any] = {}
    if rewrites is not None:
        from diptych.backbones.writers.pool import StoredPool

        kit["writer"] = StoredPool(rewrites)
    return _tuned(shared, table, captions, parts, also, (lr, train_batch, epochs, decay), kit=kit)


def _tuned(
    shared: Shared,
    data: str,
    captions: str | None,
    parts: str,
    also: str | None,
    how: tuple[float | None, int, int, float],
    *,
    templates: list[str] | None = None,
    kit: dict[str, Any] | None = None,
) -> TuneBench:
    from diptych.data.load import open_data
    from diptych.data.templates import SINGLE
    from diptych.evaluation.boards.tune import TuneBench
    from diptych.train.schedule import Fit, Schedule

    opened = open_data(data, shared.keys, need="captions or classes", text=captions or "")
    others = [open_data(name, shared.keys) for name in options.words(also or "")]
    prompts = options.template_set(templates) if templates else SINGLE
    lr, batch, epochs, decay = how
    rate = lr if lr is not None else 3e-4 if parts == "heads" else 1e-5
    fit = Fit(lr=rate, batch=batch, epochs=epochs, decay=decay, schedule=Schedule(warmup=20), clip=1.0)
    backbone, run = shared.open()
    return TuneBench(
        opened, backbone, fit, run, shared.numbers, parts=parts, templates=prompts, elsewhere=others, kit=kit
    )


def _slow() -> tuple[Job, ...]:
    from diptych.evaluation.boards.retrieve import SLOW

    return SLOW


@board_command("retrieve", every=True, without=_slow)
def board_retrieve(
    shared: Shared,
    data: Annotated[
        str,
        typer.Argument(
            help="A table of records with a column that says what each is of, or grocery_packages.", show_default=False
        ),
    ],
    entity: Annotated[
        str, options.option("--entity", help="Column of what a record is of: records of one value match.")
    ] = "entity",
    image: Annotated[
        str | None, options.option("--image", help="Column with the picture's path.", show_default=False)
    ] = None,
    text: Annotated[
        str | None, options.option("--text-column", help="Column with the text.", show_default=False)
    ] = None,
) -> RecordBench:
    """Run every retriever that trains no tower: a third of the entities is asked, the records of the others teach, in
    turn.
    """
    from diptych.evaluation.boards.retrieve import RecordBench
    from diptych.evaluation.datasets import open_linkage

    opened = open_linkage(data, entity, shared.keys, image=image or "", text=text or "")
    return RecordBench(opened, *shared.open(), shared.numbers)


@board_command("segment", every=True, engine="torch", batch=1, workers=1)
def board_segment(
    shared: Shared,
    data: Annotated[
        str,
        typer.Argument(
            help="A folder with labels.csv (path, mask) and classes.csv, its name in DIPTYCH_DATA, mosaic:NAME or "
            "paste:NAME.",
            show_default=False,
        ),
    ],
    names: options.Names = None,
    templates: options.Templates = None,
    photos: Annotated[
        str | None,
        options.option(
            "--unlabelled",
            help="Photos for systems that learn from some (default: imagenet1k_sample).",
            show_default=False,
        ),
    ] = None,
    teacher: Teacher = "lite",
) -> MaskBench:
    """Run every segmenter on the test split, or else val: mIoU of the whole set, and the gain over MaskCLIP."""
    from diptych.cli.photos import open_photos
    from diptych.core.data import ClassNames
    from diptych.evaluation.boards.segment import MaskBench
    from diptych.evaluation.datasets import open_set

    opened = open_set(data, "masks", shared.keys)
    spoken = ClassNames(options.class_names(names, opened.classes), options.template_set(templates))
    images = open_photos([photos], shared.keys)[0] if photos else None
    return MaskBench(opened, *shared.open(), shared.numbers, spoken, images, teacher)
