"""``diptych segment``: what lies where on these photos?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import options
from diptych.cli.console import finish, say, short_names, show, show_json
from diptych.cli.photos import open_photos
from diptych.core.errors import UnreadableItem, UsageError
from diptych.tasks.defaults import SEGMENTER

Teacher = Annotated[
    str,
    options.option(
        "--teacher",
        help="Backbone whose image encoder teaches, for a method that asks for one.",
        rich_help_panel="Model",
    ),
]


_ONE = options.RunOptions(batch=1, workers=1)


@options.offers("overwrite", "json", "backbone", "device", "precision", "engine", "cache", "verify")
def segment(
    photos: Annotated[list[str], typer.Argument(help="Photos, a folder, a table, or demo:photos.")],
    names: options.Names = None,
    templates: options.Templates = None,
    background: Annotated[
        str | None, options.option("--background", help='Words for all else: "sky, wall, floor".')
    ] = None,
    threshold: Annotated[
        float | None,
        options.option("--threshold", help="Pixels below this probability are background.", min=0.0, max=1.0),
    ] = None,
    method: Annotated[
        str, options.option("--method", "-m", help="A segmenter; see diptych systems --verb segment.")
    ] = SEGMENTER,
    unlabelled: Annotated[
        str | None, options.option("--unlabelled", help="Photos without labels, for a method that learns from some.")
    ] = None,
    teacher: Teacher = "lite",
    out: Annotated[Path, options.option("--out", "-o", help="Folder for overlays, label maps and areas.")] = Path(
        "segments"
    ),
    *,
    shared: options.RunOptions = _ONE,
) -> None:
    """Say what lies where on each photo, from class names alone."""
    from diptych import catalog
    from diptych.core.method import Segmenter
    from diptych.tasks.segment import percent, stems, teach
    from diptych.tasks.segment import segment as segment_photos

    system = catalog.find(method, Segmenter)
    segmenter = system()
    segmenter.check_extras()
    if "unlabelled" in system.card.needs.evidence and unlabelled is None:
        raise UsageError(
            f"{method} learns from photos without labels: give some with --unlabelled, a hundred rather than ten."
        )
    failed: list[UnreadableItem] = []
    listed = []
    with shared.open() as opened:
        samples, classes = open_photos(photos, opened.keys)
        named = options.named_classes(names, classes, templates)
        marks = stems([samples.name(i) for i in range(len(samples))])
        shared.free(*(out / f"{stem}.{end}" for stem in marks for end in ("overlay.png", "labels.png", "json")))
        tower = opened.backbone()
        keys = opened.keys
        kit, evidence = teach(
            system, tower, lambda: open_photos([unlabelled], keys)[0] if unlabelled else None, teacher
        )
        result = segment_photos(
            samples,
            named,
            tower,
            opened.run,
            method=segmenter,
            evidence=evidence,
            parts=kit.parts,
            background=options.words(background or ""),
            threshold=threshold,
        )
        every = [samples.name(i) for i in range(len(samples))]
        shown = dict(zip(every, short_names(every), strict=True))
        for stem, item in zip(marks, result, strict=True):
            if isinstance(item, UnreadableItem):
                failed.append(item)
                continue
            paths = item.write(out, stem, overwrite=shared.overwrite)
            listed.append({**item.as_dict(), "overlay": str(paths[0]), "label_map": str(paths[1])})
            if not shared.json:
                areas = "  ".join(f"{item.classes[k]} {percent(share)}" for k, share in item.areas().items())
                show(f"{shown[item.name]}  {areas}")
    if shared.json:
        facts = {
            "backbone": tower.spec.name,
            "method": method,
            "background": options.words(background or ""),
            "threshold": threshold,
        }
        skipped = [e.as_dict() for e in failed]
        told = {"classnames": named.names, "templates": named.templates}
        show_json({"photos": listed, "skipped": skipped, **facts, **told})
    say(f"{len(listed)} overlays, label maps and areas in {out}")
    finish(failed)
