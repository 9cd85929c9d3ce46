"""``diptych index``: take photos in, so that ``diptych search`` finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import options
from diptych.cli.console import finish, say, show, show_json
from diptych.cli.photos import clip_frames, open_regions
from diptych.cli.unread import refuse_idle, typed
from diptych.core import UsageError
from diptych.core.errors import install, need_extra
from diptych.core.wording import number_of

if TYPE_CHECKING:
    from diptych.core import Backbone
    from diptych.search_index.ann import Approximate
    from diptych.search_index.rows import Modality
    from diptych.tasks.search.index import Indexed

REGIONS = "+regions"
"""Ends the name of the backbone of an index of boxes that a prompter read, see ``nn.dense.region_encoder``."""


@options.offers("draft", "overwrite", *options.MODEL)
def index(
    photos: Annotated[
        list[str] | None,
        typer.Argument(
            help="Photos, folders, tables with captions, .tar files, vectors, or demo:photos; light curves."
        ),
    ] = None,
    out: Annotated[
        Path,
        options.option("--out", "-o", help="Folder of the index; made if absent, else added to, with its backbone."),
    ] = Path("photo-index"),
    remove: Annotated[
        list[str] | None, options.option("--remove", help='Delete entries: a path, or a pattern such as "*/holiday/*".')
    ] = None,
    prune: Annotated[
        bool, options.option("--prune", help="Delete entries below PHOTOS that are no longer there.")
    ] = False,
    ann: Annotated[
        bool, options.option("--ann", help="Build the approximate index now, whatever the size (extra: index).")
    ] = False,
    cut: Annotated[
        str | None,
        options.option("--cut", help="Mark answers for search --at-least: captions, a column, or a .csv file."),
    ] = None,
    export: Annotated[
        Path | None,
        options.option("--export", help="Copy the index to NAME.lance (extra: lance) or NAME.parquet, for others."),
    ] = None,
    image: Annotated[str | None, options.option("--image", help="Column of a table with the picture's path.")] = None,
    caption: Annotated[str | None, options.option("--caption", help="Column of a table with the caption.")] = None,
    frames: Annotated[
        int | None,
        options.option("--frames", help="These are clips: frames sampled from each (videos: 8).", min=1),
    ] = None,
    regions: options.Regions = None,
    *,
    shared: options.AutoOptions,
) -> None:
    """Make a search index of photos and captions, or add to one; unchanged files are not read again."""
    from diptych.tasks.search.index import remove as delete

    if not photos and not remove and not ann and not cut and not export:
        raise UsageError("Nothing to do: give photos to index, --remove PATTERN, --ann, --cut, or --export.")
    if photos and remove:
        raise UsageError("Photos that --remove deletes would be added again: give photos and --remove in two commands.")
    if not photos:
        refuse_idle("No photos are given", "prune", "image", "caption", "frames", "regions")
    if export is not None:
        shared.free(export, flag="--export")
    if ann:
        need_extra("index", "Approximate search")
    result = delete(out, remove) if remove else None
    built: Mapping[Modality, Approximate] = {}
    if photos or ann:
        clips = clip_frames(photos, frames) if photos else frames
        if clips and (image or caption):
            raise UsageError("--image and --caption name columns of a table, and these are clips: leave them out.")
        if regions is not None and (clips or image or caption or prune):
            raise UsageError(
                "Boxes of photos have no --frames, --image, --caption and --prune: leave these options out."
            )
        shared = _as_made(shared, out)
        with (replace(shared, engine="torch") if clips else shared).open() as opened:
            how = Table(image, caption, clips, regions)
            taken, built = _add(photos or [], out, how, opened, prune=prune, ann=ann)
            result = taken or result
    marked = _marked(out, cut, shared) if cut else None
    if export is not None:
        from diptych.tasks.search.export import export as copy

        say(f"{copy(out, export, overwrite=shared.overwrite):,} entries in {export}")
    if shared.json:
        facts = {"index": str(out)} if result is None else result.as_dict()
        facts |= {"cut": marked} if marked else {}
        graphs = {"approximate": {modality: asdict(built_index) for modality, built_index in built.items()}}
        show_json(facts | (graphs if ann or built else {}))
    elif result is not None:
        show(
            f"{number_of(result.entries, 'entry', 'entries')} in {out}: {result.added} added, {result.unchanged} "
            f"unchanged, {result.removed} removed"
        )
    if marked and not shared.json:
        show(f"{marked['marks']} answers of {marked['queries']} queries marked by {marked['source']}")
        for level, said in marked["cuts"].items():
            show(f"  --at-least {level}: {said if isinstance(said, str) else promise(said['share'], said['interval'])}")
        if "to_mark" in marked:
            show(f"{marked['asked']} answers tell most: fill in 'right' of {marked['to_mark']}, and give it to --cut")
    finish(result.failed if result else ())


def _marked(out: Path, what: str, shared: options.RunOptions) -> dict[str, Any]:
    """Mark answers of an index by captions, a column or a table."""
    from diptych.search_index.index import Index
    from diptych.tasks.search.cut import mark

    with Index(out) as index:
        facts = dict(index.facts)
    with like_index(shared, facts).open() as opened:
        return mark(out, what, opened.backbone(spaces=True), opened.run)


def like_index(shared: options.RunOptions, facts: Mapping[str, Any], backbone: str | None = None) -> options.RunOptions:
    """Return options with the backbone, precision and decode of an index."""
    from diptych.tasks.search.spaces import untrained_name

    name = untrained_name((backbone or str(facts.get("backbone", "lite"))).removesuffix(REGIONS))[0]
    precision, draft = str(facts.get("precision", "fp32")), facts.get("decode") == "draft"
    return replace(shared, backbone=name, precision=precision, draft=draft)


def _as_made(shared: options.AutoOptions, out: Path) -> options.AutoOptions:
    """Return options with what made the index that is in ``out``, where the command line does not say another thing."""
    from diptych.search_index.index import Index

    if not (out / "index.json").is_file():
        return shared
    with Index(out) as index:
        like = like_index(shared, index.facts)
    free = {"backbone", "precision", "draft"}.difference(typed.get())
    return replace(shared, **{name: getattr(like, name) for name in free})


def promise(share: float, interval: Sequence[float]) -> str:
    """Say which share of answers is expected to be right."""
    return f"{share:.2f} of the answers are expected to be right, {interval[0]:.2f} to {interval[1]:.2f}"


@dataclass(frozen=True)
class Table:
    """How a source is read: columns of a table, frames of a clip, a table of boxes."""

    image: str | None
    caption: str | None
    clips: int | None
    regions: Path | None = None


def _add(
    photos: list[str], out: Path, how: Table, opened: options.Opened, *, prune: bool, ann: bool
) -> tuple[Indexed | None, Mapping[Modality, Approximate]]:
    """Take records in, build the approximate index where it is due, and say how good it is."""
    from diptych.data.load import open_records
    from diptych.data.records.records import Records, joined
    from diptych.data.records.regions import region_records
    from diptych.data.records.roots import root
    from diptych.data.records.vectors import StoredVectors
    from diptych.search_index import ann as approximate
    from diptych.tasks.search.approximate import approximate as build
    from diptych.tasks.search.index import index as take_in
    from diptych.tasks.search.index import unchanged
    from diptych.tasks.search.spaces import Source, has_words

    parts: list[Records] = []
    told = open_regions(photos, how.regions, opened)[0] if how.regions is not None and photos else None
    if told is not None:
        parts.append(region_records(told.regions))
    source = Source.of(photos, opened.options.backbone, how.clips) if photos and told is None else None
    if source is not None and source.modality is not None:
        parts += [source.records(p, opened.keys) for p in photos]
    elif told is None:
        image, text = how.image or "", how.caption or ""
        parts += [open_records(p, opened.keys, image=image, text=text, vectors=True) for p in photos]
    samples = None if source is None else source.modality
    if samples is not None and samples.rows and (len(photos) > 1 or prune):
        raise UsageError(
            f"{samples.title.capitalize()} are indexed a table at a time, without --prune and photos: leave these out."
        )
    stored = [part.images for part in parts if isinstance(part.images, StoredVectors)]
    if stored and (len(photos) > 1 or prune):
        raise UsageError("Stored vectors are indexed a source at a time, without --prune and photos: leave these out.")
    if stored and not stored[0].made:
        say(f"Nothing says which backbone made these vectors: words are compared by {opened.options.backbone}.")
    records = joined(parts) if photos else None
    gone = [root(p, how.image) for p in photos] if prune else ()
    weightless = samples is None and (told is None or told.prompter is None)
    known = opened.recalled if records is not None and not ann and weightless else None
    result = unchanged(records, *known, out, prune=gone) if records and known else None
    built: Mapping[Modality, Approximate] = {}
    if result is None:
        tower, run = opened.backbone(spaces=True), opened.run
        if told is not None:
            tower = told.space(tower)
        elif source is not None and samples is not None:
            tower, run = source.space(tower, run), replace(run, engine=None)
        else:
            opened.remember(tower)
        if records is not None:
            result = take_in(records, tower, run, out, prune=gone)
        if ann or approximate.installed():
            built = build(out, tower, run, always=ann, words=has_words(tower))
        for modality, built_index in built.items():
            recall = ", ".join(
                f"{value:.3f} on {built_index.queries[name]} {name}" for name, value in built_index.recall.items()
            )
            say(f"{modality}: {built_index.kind}, {built_index.nprobe} cells a search, measured recall@10 {recall}")
    if not approximate.installed() and result is not None and result.entries > approximate.EXACT:
        say(f"More than {approximate.EXACT:,} entries: run {install('index')} for approximate search.")
    return result, built


def tower_of(opened: options.Opened, name: str) -> Backbone:
    """Load the space of an index, and remember the backbone of photos for the next search."""
    from diptych.tasks.search.spaces import space_named

    if name.endswith(REGIONS):
        from diptych.nn.dense.region_encoder import region_space
        from diptych.tasks.regions import prompter_of

        return region_space(opened.backbone(), prompter_of(opened.options.backbone))
    tower = space_named(name, opened.backbone, opened.run)
    if tower.spec.name == opened.options.backbone:
        opened.remember(tower)
    return tower
