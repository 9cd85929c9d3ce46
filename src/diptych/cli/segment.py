"""``diptych segment``: what lies where on these photos?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import options
from diptych.cli.classify import open_photos
from diptych.cli.console import say, say_skipped, show, show_json
from diptych.core.errors import UnreadableItem, UsageError

Teacher = Annotated[
    str,
    options.option(
        "--teacher",
        help="Backbone whose image encoder teaches, for a method that asks for one.",
        rich_help_panel="Model",
    ),
]


def segment(
    photos: Annotated[list[str], typer.Argument(help="Photos, a folder, a table, or demo:photos.", show_default=False)],
    names: options.Names = None,
    templates: options.Templates = None,
    background: Annotated[
        str | None, options.option("--background", help='Words for all else: "sky, wall, floor".', show_default=False)
    ] = None,
    threshold: Annotated[
        float | None,
        options.option(
            "--threshold", help="Pixels below this probability are background.", min=0.0, max=1.0, show_default=False
        ),
    ] = None,
    method: Annotated[
        str, options.option("--method", "-m", help="A segmenter; see diptych systems --verb segment.")
    ] = "maskclip",
    unlabelled: Annotated[
        str | None,
        options.option(
            "--unlabelled", help="Photos without labels, for a method that learns from some.", show_default=False
        ),
    ] = None,
    teacher: Teacher = "lite",
    out: Annotated[Path, options.option("--out", "-o", help="Folder for overlays, label maps and areas.")] = Path(
        "segments"
    ),
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    backbone: options.BackboneName = "lite",
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    engine: options.Engine = "auto",
    cache: options.Cache = None,
    verify: options.Verify = False,
) -> None:
    """Say what lies where on each photo, from class names alone."""
    keys = options.file_keys(cache, verify)
    samples, classes = open_photos(photos, keys)
    spoken = options.class_names(names, classes)
    prompts = options.template_set(templates)

    from diptych import catalog
    from diptych.core.data import ClassNames
    from diptych.core.method import Segmenter
    from diptych.tasks.segment import percent, stems, teach
    from diptych.tasks.segment import segment as segment_photos

    system = catalog.find(method)
    if not issubclass(system, Segmenter):
        raise UsageError(f"{method} is no segmenter: see 'diptych systems --verb segment'.")
    if "unlabelled" in system.card.needs.evidence and unlabelled is None:
        raise UsageError(
            f"{method} learns from photos without labels: give some with --unlabelled, a hundred rather than ten."
        )
    marks = stems([samples.name(i) for i in range(len(samples))])
    there = [
        p
        for stem in marks
        for p in (out / f"{stem}.overlay.png", out / f"{stem}.labels.png", out / f"{stem}.json")
        if p.exists()
    ]
    if there and not overwrite:
        raise UsageError(f"{there[0]} exists: give another --out or --overwrite.")
    run = options.open_run(device, precision, 1, 1, cache, engine=engine)
    tower = options.open_backbone(backbone, run)
    kit, evidence = teach(system, tower, lambda: open_photos([unlabelled], keys)[0] if unlabelled else None, teacher)
    found = segment_photos(
        samples,
        ClassNames(spoken, prompts),
        tower,
        run,
        method=system(),
        evidence=evidence,
        parts=kit.parts,
        background=options.words(background or ""),
        threshold=threshold,
    )
    failed: list[UnreadableItem] = []
    listed = []
    for stem, item in zip(marks, found, strict=True):
        if isinstance(item, UnreadableItem):
            failed.append(item)
            continue
        paths = item.write(out, stem, overwrite=overwrite)
        listed.append({**item.as_dict(), "overlay": str(paths[0]), "label_map": str(paths[1])})
        if not json:
            areas = "  ".join(f"{item.classes[k]} {percent(share)}" for k, share in item.areas().items())
            show(f"{Path(item.name).name}  {areas}")
    keys.close()
    if json:
        skipped = [e.as_dict() for e in failed]
        about = {
            "backbone": tower.spec.name,
            "method": method,
            "background": options.words(background or ""),
            "threshold": threshold,
        }
        show_json({"photos": listed, "skipped": skipped, **about, "classnames": spoken, "templates": prompts})
    say(f"{len(listed)} overlays, label maps and areas in {out}")
    say_skipped(failed)
    if failed:
        raise typer.Exit(UnreadableItem.exit_code)
