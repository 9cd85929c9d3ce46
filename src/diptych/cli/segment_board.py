"""``diptych board segment``: every fitting segmenter on your photos with label maps, measured alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import options
from diptych.cli.board import command_line
from diptych.cli.console import say, show, show_json, show_table
from diptych.cli.segment import Teacher
from diptych.core.errors import UsageError


def board_segment(
    data: Annotated[
        str,
        typer.Argument(
            help="A folder with labels.csv (path, mask) and classes.csv, its name in DIPTYCH_DATA, mosaic:NAME or paste:NAME.",
            show_default=False,
        ),
    ],
    names: options.Names = None,
    templates: options.Templates = None,
    photos: Annotated[
        str | None,
        options.option("--unlabelled", help="Photos for systems that learn from some (default: imagenet1k_sample).", show_default=False),
    ] = None,
    teacher: Teacher = "lite",
    methods: Annotated[
        str | None, options.option("--methods", help="Segmenters, such as maskclip (default: all).", show_default=False)
    ] = None,
    seeds: Annotated[str, options.option("--seeds", help="Seeds of trainings.")] = "1,2,3",
    out: Annotated[Path, options.option("--out", "-o", help="Folder for board.json.")] = Path("out/board-segment"),
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    backbone: options.BackboneName = "lite",
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    cache: options.Cache = None,
    verify: options.Verify = False,
) -> None:
    """Run every segmenter on the test split, or else val: mIoU of the whole set, and the gain over MaskCLIP."""
    if (out / "board.json").exists() and not overwrite:
        raise UsageError(f"{out / 'board.json'} exists: give another --out or --overwrite.")
    from diptych.cli.classify import open_photos
    from diptych.core.data import ClassNames
    from diptych.tasks.proofs.segment import find_masks
    from diptych.tasks.segment_board import segment_board

    opened = find_masks(data)
    keys = options.file_keys(cache, verify)
    images = open_photos([photos], keys)[0] if photos else None
    spoken = options.class_names(names, opened.classes)
    run = options.open_run(device, precision, 1, 1, cache)
    made = segment_board(
        opened,
        options.open_backbone(backbone, run),
        run,
        classes=ClassNames(spoken, options.template_set(templates)),
        photos=images,
        teacher=teacher,
        methods=options.words(methods) if methods else None,
        seeds=options.integers(seeds, "seeds"),
        command=command_line(),
    )
    keys.close()
    made.write(out, overwrite=overwrite)
    if json:
        show_json(made.as_dict())
    else:
        rows = []
        for r in made.rows:
            gain = "" if r.gain is None else f"{100 * r.gain.value:+.1f} ({100 * r.gain.low:+.1f} to {100 * r.gain.high:+.1f})"
            interval = f"{100 * r.miou.value:.1f} ({100 * r.miou.low:.1f}-{100 * r.miou.high:.1f})"
            seconds = f"{r.seconds['fit']:.0f}+{r.seconds['segment']:.0f}" if r.seconds else "-"
            rows.append((", ".join(filter(None, (r.method, r.variant))), interval, gain, f"{100 * r.pixel_accuracy:.1f}", seconds))
        title = f"{opened.name}: {made.facts['items']} {made.facts['split']} photos, {len(spoken)} classes"
        headings = ["system", "mIoU % (95 %)", "gain over maskclip", "pixels %", "fit+segment s"]
        show_table(headings, rows, right=range(1, 5), title=title)
        show(str(out / "board.json"))
    for label, reason in made.missing.items():
        say(f"{label} did not run: {reason}")
