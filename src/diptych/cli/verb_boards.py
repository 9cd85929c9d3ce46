"""``diptych board`` of every verb but classify and audit: what each opens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import flag_values, options
from diptych.cli.bench_command import board_command
from diptych.cli.declared import option_of
from diptych.cli.training import finetune, pretrain
from diptych.cli.training.options import LoopOptions
from diptych.core import UsageError
from diptych.verbs.curate.plan import CuratePlan
from diptych.verbs.detect import Detect
from diptych.verbs.segment import Segment

if TYPE_CHECKING:
    from diptych.evaluation.arms import Arm
    from diptych.evaluation.boards.caption import CaptionBench
    from diptych.evaluation.boards.curate import CurateBench
    from diptych.evaluation.boards.detect import AnomalyBench
    from diptych.evaluation.boards.extend import ExtendBench
    from diptych.evaluation.boards.retrieve import RecordBench
    from diptych.evaluation.boards.segment import MaskBench
    from diptych.evaluation.boards.tune import TuneBench


@board_command("caption", loads=True)
def board_caption(
    opened: options.Opened,
    seeds: tuple[int, ...],
    table: Annotated[str, typer.Argument(help="A table of photos with human captions.")],
    references: Annotated[str, options.option("--references", help="Its columns of captions.")] = "caption*",
    texts: Annotated[
        str | None,
        options.option("--texts", help="Sentences to learn from (default: the captions of the train split)."),
    ] = None,
    judge: Annotated[
        str | None,
        options.option("--judge", help="Another backbone, which gives CLIPScore.", rich_help_panel="Model"),
    ] = None,
) -> CaptionBench:
    """Caption the test (or val) photos by every captioner; gains over the nearest sentence."""
    from diptych.data.captions import read_sentences
    from diptych.evaluation.boards.caption import CaptionBench, captioned_photos

    data = captioned_photos(table, references, read_sentences(texts) if texts else None, opened.keys)
    return CaptionBench(data, opened.backbone(), opened.run, seeds, opened.backbone(judge) if judge else None)


@board_command("curate")
def board_curate(
    opened: options.Opened,
    seeds: tuple[int, ...],
    data: Annotated[str, typer.Argument(help="A table of photos with captions.")],
    captions: Annotated[str, options.option("--captions", help="Its columns of captions.")] = "caption*",
    wrong: Annotated[float, options.option("--wrong", help="Share of the pairs whose captions are swapped.")] = 0.3,
    keep: Annotated[float, options.option("--keep", help="Share of the pairs that is kept.")] = 0.5,
    metadata: Annotated[str, option_of(CuratePlan, "metadata")] = "wordnet",
    head: Annotated[
        Path | None,
        options.option("--head", help="A head that 'curate head' wrote, by whose scores pairs are kept."),
    ] = None,
) -> CurateBench:
    """Run every curator on captioned photos, some with swapped captions; gains are over a random choice of as many
    pairs.
    """
    from diptych.evaluation.boards.caption_pool import caption_pool
    from diptych.evaluation.boards.curate import CurateBench

    pool = caption_pool(data, captions, wrong, keep, opened.keys)
    return CurateBench(pool, opened.backbone(), opened.run, seeds, metadata, head=str(head or ""))


@board_command("detect", every=True, loads=True)
def board_detect(
    opened: options.Opened,
    seeds: tuple[int, ...],
    data: Annotated[str, typer.Argument(help="A folder of MVTec's layout: train/good, test/good, test/KIND ...")],
    thing: Annotated[str | None, option_of(Detect, "thing")] = None,
    auxiliary: Annotated[str | None, option_of(Detect, "auxiliary")] = None,
    rate: Annotated[
        float, options.option("--false-alarm-rate", help="Share of normal photos that a threshold may flag.")
    ] = 0.1,
) -> AnomalyBench:
    """Run every detector on normal and anomalous photos; a third of the normal train photos sets the threshold."""
    from diptych.evaluation.boards.detect import AnomalyBench
    from diptych.evaluation.datasets import open_set, thing_of

    photos = open_set(data, "anomalies", opened.keys)
    known = None if auxiliary is None else open_set(auxiliary, "anomalies", opened.keys).split("test")
    object_name = thing or thing_of(photos.name)
    return AnomalyBench.open(
        photos, opened.backbone(), opened.run, seeds, thing=object_name, rate=rate, auxiliary=known
    )


@board_command("extend", engine="torch")
def board_extend(
    opened: options.Opened,
    seeds: tuple[int, ...],
    clips: Annotated[
        str,
        typer.Argument(
            help="A folder with train and test (or val): CLASS/CLIP. Or point clouds, or light curves with classes."
        ),
    ],
    names: options.Names = None,
    template: Annotated[str, options.option("--template", help="One prompt with {}.")] = "a photo of a {}.",
    frames: Annotated[int, options.option("--frames", help="Frames sampled from each clip.", min=1)] = 8,
) -> ExtendBench:
    """Fit every extender on labelled clips and classify the held-out ones; gains are over the mean of the frames."""
    from diptych.data.format import Request
    from diptych.data.modalities import CLIPS, modality_of
    from diptych.evaluation.boards.extend import ExtendBench
    from diptych.tasks.extend_evidence import classes_of

    kind = modality_of(clips) or CLIPS
    data = kind.open([clips], Request(keys=opened.keys, frames=frames))
    if not kind.named and names:
        raise UsageError("Classes of light curves are those of their table: leave out --names.")
    classes = flag_values.named_classes(names, data.classes, [template]) if kind.named else classes_of(data, kind)
    return ExtendBench.open(data, classes, opened.backbone(), opened.run, seeds, frames, kind)


_TUNING = finetune.TrainOptions(parts="heads", epochs=10)
_PARTS = pretrain.NamedParts()
_PRETRAINING = pretrain.PretrainOptions(parts="heads")


@board_command("finetune", engine="torch")
def board_finetune(
    opened: options.Opened,
    seeds: tuple[int, ...],
    data: finetune.Data,
    how: finetune.TrainOptions = _TUNING,
) -> TuneBench:
    """Fine-tune by every system from the same start, and measure the held-out rows; gains over the backbone before."""
    return _tuned(opened, seeds, data, how)


@dataclass(frozen=True)
class LengthOptions:
    """How long all trainings are, and what they are compared with."""

    steps: Annotated[
        int | None,
        options.option("--steps", help="Train every objective for this many steps, instead of --epochs.", min=1),
    ] = None
    seconds: Annotated[
        float | None,
        options.option(
            "--seconds",
            help="Train every objective for this many seconds (CPU time on a CPU); with --steps, each "
            "is trained both ways.",
        ),
    ] = None
    base: Annotated[
        str,
        options.option("--base", help='Baseline of the gains: "before", or an objective trained for the same length.'),
    ] = "before"
    regions: Annotated[
        Path | None,
        options.option(
            "--regions",
            help="A table with a box and one phrase per row, for systems that read regions and to measure them.",
        ),
    ] = None


@board_command("pretrain", engine="torch")
def board_pretrain(
    opened: options.Opened,
    seeds: tuple[int, ...],
    table: Annotated[
        str,
        typer.Argument(help="A table of photos with captions, or painted scenes: scenes, scenes:small."),
    ],
    beside: pretrain.NamedParts = _PARTS,
    how: pretrain.PretrainOptions = _PRETRAINING,
    length: LengthOptions = LengthOptions(),
) -> TuneBench:
    """Train by every objective from the same start on captioned photos, and measure the held-out ones: retrieval, other
    sets by class names, regions and a dense probe where there are boxes.
    """
    return _tuned(opened, seeds, table, how, beside.loaded(opened.run.device), length)


def _tuned(
    opened: options.Opened,
    seeds: tuple[int, ...],
    data: str,
    how: finetune.TrainOptions,
    kit: dict[str, Any] | None = None,
    length: LengthOptions = LengthOptions(),
) -> TuneBench:
    from diptych.core import ClassNames
    from diptych.data.formats.region_table import with_regions
    from diptych.data.words.templates import SINGLE
    from diptych.evaluation.boards.choice import arms_of, in_lengths
    from diptych.evaluation.boards.tune import BEFORE, TuneBench, equal_lengths
    from diptych.evaluation.datasets import SCENES, open_set

    rows = open_set(data, "captions or classes", opened.keys, text=how.captions or "")
    rows = rows if length.regions is None else with_regions(rows, length.regions)
    others = [open_set(name, "any", opened.keys) for name in flag_values.words(how.also or "")]
    plain = replace(
        LoopOptions().fit(how.rate(), how.train_batch, how.epochs, how.decay, cached=False), save_every=None
    )
    fit, lengths = equal_lengths(plain, length.steps, length.seconds)
    base = [] if length.base == BEFORE.system else in_lengths(arms_of("pretrain", [length.base]), lengths)
    return TuneBench(
        rows,
        opened.backbone(),
        fit,
        opened.run,
        seeds,
        parts=how.parts,
        templates=flag_values.template_set(how.templates) if how.templates else SINGLE,
        elsewhere=others,
        named={o.name: ClassNames(o.classes, ("{}",)) for o in others if o.name.rpartition(":")[0] in SCENES},
        kit=kit or {},
        lengths=lengths,
        always=(*base, BEFORE),
    )


def _slow() -> tuple[Arm, ...]:
    from diptych.evaluation.boards.retrieve import SLOW

    return SLOW


@board_command("retrieve", every=True, without=_slow, loads=True)
def board_retrieve(
    opened: options.Opened,
    seeds: tuple[int, ...],
    data: Annotated[
        str,
        typer.Argument(help="A table of records with a column that says what each is of, or grocery_packages."),
    ],
    entity: Annotated[
        str, options.option("--entity", help="Column that says what a record shows: records with the same value match.")
    ] = "entity",
    image: Annotated[str | None, options.option("--image", help="Column with the picture's path.")] = None,
    text: Annotated[str | None, options.option("--text-column", help="Column with the text.")] = None,
) -> RecordBench:
    """Run every retriever that trains no tower: a third of the entities are queries, the records of the others train
    it, in turn.
    """
    from diptych.evaluation.boards.retrieve import RecordBench
    from diptych.evaluation.datasets import open_linkage

    records = open_linkage(data, entity, opened.keys, image=image or "", text=text or "")
    return RecordBench(records, opened.backbone(), opened.run, seeds)


@dataclass(frozen=True)
class CountedOptions:
    """What of label maps counts."""

    background: Annotated[
        str | None, options.option("--background", help='Words for the class "background": "sky, wall".')
    ] = None
    threshold: Annotated[
        float | None,
        options.option("--threshold", help="Pixels below this probability are background.", min=0.0, max=1.0),
    ] = None
    void: Annotated[
        str | None, options.option("--void", help='Values of masks that do not count, beside those marked: "0, 255".')
    ] = None
    items: Annotated[
        int | None,
        options.option(
            "--items",
            help="Measure this many photos, the same ones for every system (default: all).",
            min=1,
        ),
    ] = None


@board_command("segment", every=True, loads=True, engine="torch", batch=1, workers=1)
def board_segment(
    opened: options.Opened,
    seeds: tuple[int, ...],
    data: Annotated[
        str,
        typer.Argument(
            help="A folder with labels.csv (path, mask) and classes.csv or in ADE20K's layout, its name in "
            "DIPTYCH_DATA, mosaic:NAME or paste:NAME.",
        ),
    ],
    names: options.Names = None,
    templates: options.Templates = None,
    photos: Annotated[
        str | None,
        options.option(
            "--unlabelled",
            help="Photos for systems that learn from some (default: imagenet1k_sample).",
        ),
    ] = None,
    teacher: Annotated[str, option_of(Segment, "teacher")] = "lite",
    proposer: Annotated[str, option_of(Segment, "proposer")] = "auto",
    masks: Annotated[str | None, option_of(Segment, "masks")] = None,
    counted: CountedOptions = CountedOptions(),
) -> MaskBench:
    """Run every segmenter on the test split, or else val: mIoU of the whole set, and the gain over the one that trains
    nothing.
    """
    from diptych.cli.photos import open_photos
    from diptych.data.words.classnames import with_words
    from diptych.evaluation.boards.segment import MaskBench
    from diptych.evaluation.datasets import open_set

    labelled = open_set(data, "masks", opened.keys, void=flag_values.whole_numbers("--void", counted.void))
    classes = with_words(flag_values.named_classes(names, labelled.classes, templates))
    images = open_photos([photos], opened.keys)[0].items if photos else None
    return MaskBench(
        labelled, opened.backbone(), opened.run, seeds, classes, images, teacher,
        flag_values.words(counted.background or ""), counted.threshold, proposer, masks, counted.items,
    )  # fmt: skip
