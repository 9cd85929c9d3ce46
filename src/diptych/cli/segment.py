"""``diptych segment``: what lies where on these photos?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from diptych.cli import flag_values, options
from diptych.cli.console import finish, say, short_names, show, show_json
from diptych.cli.photos import boxes_of, captioned_photos, labelled_photos, open_photos, speed
from diptych.cli.unread import Readers, needs, refuse_unread
from diptych.core.errors import UnreadableItem, UsageError
from diptych.core.wording import number_of
from diptych.tasks.defaults import SEGMENTER

Teacher = Annotated[
    str,
    options.option(
        "--teacher",
        help="Backbone whose image encoder teaches, for a method that asks for one.",
        rich_help_panel="Model",
    ),
]


Proposer = Annotated[
    str,
    options.option(
        "--proposer",
        help="Mask proposer, for a method that asks for one: merged-cells, ranked-cells, or a Mask2Former, CLIPSeg, "
        "OWLv2 or SAM as hf:NAME or a folder.",
        rich_help_panel="Model",
    ),
]
Masks = Annotated[
    str | None,
    options.option(
        "--masks",
        help="SAM or SAM 2 that draws masks, for a method that uses one: hf:NAME or a folder.",
        rich_help_panel="Model",
    ),
]


_ONE = options.RunOptions(batch=1, workers=1)


@dataclass(frozen=True)
class QuestionOptions:
    """What is asked beside the names."""

    background: Annotated[
        str | None, options.option("--background", help='Words for all else: "sky, wall, floor".')
    ] = None
    threshold: Annotated[
        float | None,
        options.option("--threshold", help="Pixels below this probability are background.", min=0.0, max=1.0),
    ] = None
    unknown: Annotated[
        float | None,
        options.option("--unknown", help="Pixels below this probability are of no class.", min=0.0, max=1.0),
    ] = None
    things: Annotated[
        str | None,
        options.option(
            "--things", help='Names whose objects are counted, "cat, dog" or all: instance and panoptic maps.'
        ),
    ] = None
    void: Annotated[
        str | None,
        options.option(
            "--void", help='Values of masks, also those of --train, that are no class, beside those marked: "0".'
        ),
    ] = None


@dataclass(frozen=True)
class PartOptions:
    """What a method needs beside the backbone."""

    unlabelled: Annotated[
        str | None, options.option("--unlabelled", help="Photos without labels, for a method that learns from some.")
    ] = None
    captioned: Annotated[
        str | None,
        options.option("--captioned", help="Photos with captions, for a method that learns from some: a table."),
    ] = None
    train: Annotated[
        str | None,
        options.option(
            "--train", help="Photos with label maps (labels.csv, classes.csv), for a method that learns masks."
        ),
    ] = None
    teacher: Teacher = "lite"
    proposer: Proposer = "merged-cells"
    masks: Masks = None


READERS: Readers = {
    "unlabelled": needs("unlabelled"),
    "captioned": needs("auxiliary"),
    "train": needs("train"),
    "teacher": needs("Space"),
    "proposer": needs("MaskProposer"),
    "masks": needs("PromptableMasks"),
}


@options.offers("overwrite", "json", "backbone", "device", "precision", "engine", "cache", "verify")
def segment(
    photos: Annotated[list[str], typer.Argument(help="Photos, a folder, a table, or demo:photos.")],
    names: options.Names = None,
    templates: options.Templates = None,
    confidence: Annotated[
        bool, options.option("--confidence", help="Write the probability of each pixel too.")
    ] = False,
    method: Annotated[
        str, options.option("--method", "-m", help="A segmenter; see diptych systems --verb segment.")
    ] = SEGMENTER,
    regions: options.Regions = None,
    out: Annotated[Path, options.option("--out", "-o", help="Folder for overlays, label maps and areas.")] = Path(
        "segments"
    ),
    *,
    parts: PartOptions,
    asks: QuestionOptions,
    shared: options.RunOptions = _ONE,
) -> None:
    """Say what lies where on each photo, from class names alone."""
    from diptych import catalog
    from diptych.core.method import Segmenter
    from diptych.data.words.classnames import with_words
    from diptych.tasks.question import question
    from diptych.tasks.segment import segment as segment_photos
    from diptych.tasks.segment import stems, teach
    from diptych.tasks.segmented import COCO, Coco, endings, percent
    from diptych.tasks.segmented_boxes import in_boxes

    system = catalog.find(method, Segmenter)
    refuse_unread(system, READERS)
    segmenter = system()
    segmenter.check_extras()
    if "train" in system.card.needs.evidence and parts.train is None:
        raise UsageError(
            f"{method} learns masks from photos with label maps: give some with --train, a hundred rather than ten."
        )
    if "unlabelled" in system.card.needs.evidence and parts.unlabelled is None:
        raise UsageError(
            f"{method} learns from photos without labels: give some with --unlabelled, a hundred rather than ten."
        )
    if "auxiliary" in system.card.needs.evidence and parts.captioned is None:
        raise UsageError(f"{method} learns from photos with captions: give some with --captioned, a hundred at least.")
    if regions is not None and asks.things:
        raise UsageError("Each box is one object: leave out --things, or --regions.")
    failed: list[UnreadableItem] = []
    listed = []
    with shared.open() as opened:
        void = flag_values.whole_numbers("--void", asks.void)
        samples, classes = open_photos(photos, opened.keys, void=void)
        boxed = None if regions is None else boxes_of(photos, regions, opened.keys)
        if boxed is not None:
            samples = boxed.items
        named = with_words(flag_values.named_classes(names, classes, templates))
        counted = named.names if asks.things == "all" else flag_values.words(asks.things or "")
        how: dict[str, Any] = {
            "background": flag_values.words(asks.background or ""), "threshold": asks.threshold,
            "unknown": asks.unknown, "things": counted,
        }  # fmt: skip
        asked = question(named, segmenter, **how)
        objects = bool(counted) or boxed is not None
        written = Coco(asked.classes.names, asked.classes.things if boxed is None else (True,) * len(asked.classes))
        marks = stems([samples.name(i) for i in range(len(samples))])
        ends = endings(confidence=confidence, things=objects)
        shared.free(*(out / f"{stem}{end}" for stem in marks for end in ends), *(out / n for n in COCO if objects))
        tower = opened.backbone()
        keys = opened.keys
        kit, evidence = teach(
            system, tower, lambda: open_photos([parts.unlabelled], keys)[0] if parts.unlabelled else None,
            parts.teacher, parts.proposer, parts.masks, labelled=lambda: labelled_photos(parts.train or "", keys, void),
            captioned=lambda: captioned_photos(parts.captioned, keys) if parts.captioned else None,
        )  # fmt: skip
        result = segment_photos(
            samples,
            named,
            tower,
            opened.run,
            method=segmenter,
            evidence=evidence,
            parts=kit.parts,
            confidence=confidence,
            **how,
        )
        start = time.monotonic()
        every = [samples.name(i) for i in range(len(samples))]
        shown = dict(zip(every, short_names(every), strict=True))
        for i, (stem, item) in enumerate(zip(marks, result, strict=True)):
            if isinstance(item, UnreadableItem):
                failed.append(item)
                continue
            if boxed is not None:
                item = in_boxes(item, boxed.columns["boxes"].values[i].corners, boxed.columns["phrases"].values[i])
            paths = item.write(out, stem, overwrite=shared.overwrite)
            listed.append({**item.as_dict(), "overlay": str(paths[0]), "label_map": str(paths[1])})
            if objects:
                written.add(stem, item)
            if not shared.json:
                areas = "  ".join(f"{item.classes[k]} {percent(share)}" for k, share in item.areas().items())
                more = [f"unknown {percent(item.unknown())}"] if item.unknown() else []
                number = sum(s["thing"] for s in item.segments())
                things_found = [number_of(number, "thing")] if objects else []
                show("  ".join([shown[item.name], areas, *more, *things_found]))
        if objects:
            written.write(out, overwrite=shared.overwrite)
        seconds = time.monotonic() - start
    if shared.json:
        facts = {
            "backbone": tower.spec.name,
            "method": method,
            "images_per_second": len(listed) / max(seconds, 1e-9),
            **how,
        }
        skipped = [e.as_dict() for e in failed]
        words = {"classnames": named.names, "templates": named.templates}
        show_json({"photos": listed, "skipped": skipped, **facts, **words})
    if listed:
        say(speed(len(listed), seconds, opened.run, tower.spec.name))
    say(f"{number_of(len(listed), 'overlay')}, label maps and areas in {out}")
    if len(asked.classes) == 1:
        say("With one name nothing else can be chosen: add names, or --background with what else may be there.")
    finish(failed)
