"""``diptych index`` and ``diptych search``: find a photo among many, by words, by another photo, or by both."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import options
from diptych.cli.console import say, say_skipped, show, show_json
from diptych.core.errors import UnreadableItem, UsageError


def index(
    photos: Annotated[
        list[str] | None,
        typer.Argument(help="Photos, folders, tables with captions, .tar files, or demo:photos.", show_default=False),
    ] = None,
    out: Annotated[
        Path, options.option("--out", "-o", help="Folder of the index; made if absent, else added to.")
    ] = Path("photo-index"),
    remove: Annotated[
        list[str] | None,
        options.option(
            "--remove", help='Delete entries: a path, or a pattern such as "*/holiday/*".', show_default=False
        ),
    ] = None,
    prune: Annotated[
        bool, options.option("--prune", help="Delete entries below PHOTOS that are no longer there.")
    ] = False,
    ann: Annotated[
        bool, options.option("--ann", help="Build the approximate index now, whatever the size (extra: index).")
    ] = False,
    image: Annotated[
        str | None, options.option("--image", help="Column of a table with the picture's path.", show_default=False)
    ] = None,
    caption: Annotated[
        str | None, options.option("--caption", help="Column of a table with the caption.", show_default=False)
    ] = None,
    frames: Annotated[
        int | None,
        options.option(
            "--frames", help="These are clips: look at so many frames of each (videos: 8).", min=1, show_default=False
        ),
    ] = None,
    json: options.Json = False,
    backbone: options.BackboneName = "lite",
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    engine: options.Engine = "auto",
    draft: options.Draft = False,
    batch: options.AutoBatch = 0,
    workers: options.AutoWorkers = 0,
    cache: options.Cache = None,
    verify: options.Verify = False,
) -> None:
    """Make a search index of photos and captions, or add to one; unchanged files are not read again."""
    from diptych.tasks.index import Indexed, unchanged
    from diptych.tasks.index import approximate as build
    from diptych.tasks.index import index as take_in
    from diptych.tasks.index import remove as delete

    if not photos and not remove and not ann:
        raise UsageError("Nothing to do: give photos to index, --remove PATTERN, or --ann.")
    made: Indexed | None = delete(out, remove) if remove else None
    built = {}
    if photos or ann:
        from diptych.cli.classify import clip_frames, of_clips
        from diptych.data.clip_records import clip_records
        from diptych.data.record_roots import root
        from diptych.data.records import joined, open_records
        from diptych.index import ann as approximate

        keys = options.file_keys(cache, verify)
        clips = clip_frames(photos, frames) if photos else frames
        if clips and (image or caption):
            raise UsageError("--image and --caption name columns of a table, and these are clips: leave them out.")
        parts = [
            open_records(p, keys, image=image, text=caption) if clips is None else clip_records(p, clips, keys)
            for p in photos or ()
        ]
        records = joined(parts) if photos else None
        gone = [root(p, image) for p in photos or ()] if prune else ()
        quick = records is not None and not ann and clips is None
        known = (
            options.recalled_run(backbone, device, precision, batch, workers, cache, engine, draft) if quick else None
        )
        done = unchanged(records, *known, out, prune=gone) if records and known else None
        if done is None:
            run = options.open_run(
                device, precision, batch, workers, cache, engine=engine if clips is None else "torch", draft=draft
            )
            tower = of_clips(options.open_backbone(backbone, run), clips, run)
            if clips is None:
                options.remember(backbone, tower, device, run, cache)
            if records is not None:
                done = take_in(records, tower, run, out, prune=gone)
            if ann or approximate.installed():
                built = build(out, tower, run, always=ann)
        made = done or made
        keys.close()
        if not approximate.installed() and made is not None and made.entries > approximate.EXACT:
            say(f"More than {approximate.EXACT:,} entries: run pip install 'diptych[index]' for approximate search.")
    for modality, about in built.items():
        recall = ", ".join(f"{value:.3f} on {about.queries[name]} {name}" for name, value in about.recall.items())
        say(f"{modality}: {about.kind}, {about.nprobe} cells a search, measured recall@10 {recall}")
    if json:
        facts = {"index": str(out)} if made is None else made.as_dict()
        graphs = {"approximate": {modality: asdict(about) for modality, about in built.items()}}
        show_json(facts | (graphs if ann or built else {}))
    if made is None:
        return
    if not json:
        show(
            f"{made.entries:,} entries in {out}: {made.added} added, {made.unchanged} unchanged, {made.removed} removed"
        )
    say_skipped(made.failed)
    if made.failed:
        raise typer.Exit(UnreadableItem.exit_code)


def search(
    folder: Annotated[Path, typer.Argument(metavar="INDEX", help="Folder of diptych index.", show_default=False)],
    query: Annotated[
        list[str],
        typer.Argument(help='Words and pictures, added up: "a red car" photo.jpg "2:at night".', show_default=False),
    ],
    minus: Annotated[
        list[str] | None,
        options.option(
            "--minus", "-m", help='Words or pictures to move away from, such as "0.5:snow".', show_default=False
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        options.option(
            "--where",
            "-w",
            help='Condition on metadata: label=cat, "year>=1990", "name~*holiday*".',
            show_default=False,
        ),
    ] = None,
    top: Annotated[int, options.option("--top", "-k", help="Answers.", min=1)] = 10,
    captions: Annotated[
        float | None,
        options.option(
            "--captions",
            help="Share of the captions in the score, 0 to 1 (default 0).",
            min=0.0,
            max=1.0,
            show_default=False,
        ),
    ] = None,
    exact: Annotated[bool, options.option("--exact", help="Look at every entry, however many.")] = False,
    html: Annotated[
        Path | None, options.option("--html", help="Also write a page with the pictures.", show_default=False)
    ] = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    backbone: Annotated[
        str | None,
        options.option(
            "--backbone", "-b", help="Default: that of the index.", rich_help_panel="Model", show_default=False
        ),
    ] = None,
    device: options.Device = "auto",
    engine: options.Engine = "auto",
    cache: options.Cache = None,
) -> None:
    """Find the entries nearest to words, pictures, or both."""
    from diptych.index.index import Index
    from diptych.index.rows import Modality

    if html is not None and html.exists() and not overwrite:
        raise UsageError(f"{html} exists: give another --html or --overwrite.")
    with Index(folder) as opened:
        facts = dict(opened.facts)

    from diptych.cli.classify import of_clips
    from diptych.data.files import write_whole
    from diptych.tasks.search import Term
    from diptych.tasks.search import html as page
    from diptych.tasks.search import search as ask

    terms = [*(Term.parse(q) for q in query), *(Term.parse(m, -1.0) for m in minus or ())]
    precision = str(facts.get("precision", "fp32"))
    run = options.open_run(device, precision, 1, 1, cache, engine=engine, draft=facts.get("decode") == "draft")
    name, _, clips = (backbone or str(facts.get("backbone", "lite"))).partition("+frames")
    tower = of_clips(options.open_backbone(name, run), int(clips) if clips.isdecimal() else None, run)
    parts: dict[Modality, float] = {} if captions is None else {"image": 1 - captions, "text": captions}
    weights = {m: w for m, w in parts.items() if w} or None
    answer = ask(folder, terms, tower, run, k=top, weights=weights, where=where or (), exact=exact or None)
    if html is not None:
        write_whole(html, page(answer), overwrite=overwrite)
    if json:
        show_json(answer.as_dict())
    else:
        for f in answer.found:
            show(f"{f.score:.3f}  {f.entry.name}" + (f"  {f.entry.caption[:60]}" if f.entry.caption else ""))
    if answer.recall is not None:
        say(
            f"approximate: measured recall@10 {min(answer.recall.values()):.3f}; --exact looks at all "
            f"{answer.entries:,}"
        )
    if not answer.found:
        say("Nothing meets the conditions.")
    if html is not None:
        say(f"The page is {html}")
