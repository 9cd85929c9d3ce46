"""``index``: take photos in, so that ``search`` finds them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import UsageError
from diptych.core.errors import install, need_extra
from diptych.core.ranges import at_least
from diptych.verbs import kinds
from diptych.verbs.arguments import BOXES, LOCAL, argument
from diptych.verbs.context import Context, refuse_cluster
from diptych.verbs.declare import CLUSTER, RUN, Verb
from diptych.verbs.index_report import IndexReport
from diptych.verbs.photos import clip_frames, with_remedy

if TYPE_CHECKING:
    from diptych.core import Backbone

REGIONS = "+regions"
"""Ends the name of the backbone of an index of boxes that a prompter read, see ``nn.dense.region_encoder``."""


@dataclass(frozen=True, kw_only=True)
class IndexPhotos(Verb):
    """Make a search index of photos and captions, or add to one; unchanged files are not read again."""

    name: ClassVar[str] = "index"
    out: ClassVar[str] = "photo-index"
    out_help: ClassVar[str] = (
        "Folder of the index, or lance:FOLDER, s3://BUCKET/NAME, qdrant://HOST:PORT/NAME; made if absent, else added "
        "to, with its backbone."
    )
    side_by_side: ClassVar[bool] = True
    python_out: ClassVar[Any] = "position"
    result: ClassVar[str] = "PhotoIndex"
    examples: ClassVar[tuple[str, ...]] = (
        "index photos/",
        "index photos/ holiday.csv --out my-index",
    )
    without_model: ClassVar[str] = "that of the index, or ``lite`` where it is made"
    run_options: ClassVar[dict[str, Any]] = {"batch": 0, "workers": 0}
    offers: ClassVar[tuple[str, ...]] = (*RUN, "draft", *CLUSTER, "batch", "workers")

    photos: Any = argument(
        "Photos, folders, tables with captions, .tar files, vectors, or demo:photos; light curves.",
        kinds.Kind(list[str]), None, word=True, positional=True, faces=LOCAL,
    )  # fmt: skip
    remove: str | Sequence[str] = argument(
        'Delete entries: a path, or a pattern such as "*/holiday/*".', kinds.TEXTS, (), faces=LOCAL
    )
    prune: bool = argument("Delete entries below PHOTOS whose files are gone.", default=False, faces=LOCAL)
    ann: bool = argument(
        "Build the approximate index now, whatever the size (extra: index).", default=False, faces=LOCAL
    )
    cut: str | None = argument(
        "Mark right answers, so that a search can leave out weak ones: captions, a column, or a .csv file.",
        default=None, faces=LOCAL,
    )  # fmt: skip
    export: Any = argument(
        "Copy the index to NAME.lance (extra: lance) or NAME.parquet, for other tools.", kinds.FILE, None
    )
    image: str | None = argument("Column of a table with the picture's path.", default=None, faces=LOCAL)
    caption: str | None = argument("Column of a table with the caption.", default=None, faces=LOCAL)
    frames: int | None = argument(
        "These are clips: frames sampled from each (videos: 8).", default=None, range=at_least(1),
        faces=LOCAL,
    )  # fmt: skip
    regions: Any = argument(BOXES, kinds.FILE, None)

    def paths(self) -> list[str]:
        """Return the paths of the photos.

        Raises:
            UsageError: these are no paths.
        """
        if self.photos is None:
            return []
        if hasattr(self.photos, "columns"):
            raise UsageError("An index holds files: give the paths, df['path'], or the table as a .csv file.")
        given = [self.photos] if isinstance(self.photos, (str, os.PathLike)) else list(self.photos)
        if wrong := [p for p in given if not isinstance(p, (str, os.PathLike))]:
            raise UsageError(f"An index holds files, not a {type(wrong[0]).__name__}: give paths of photos or folders.")
        return [os.fspath(p) for p in given]

    def check(self) -> None:
        """Refuse a call without work, and options that exclude each other."""
        photos = self.paths()
        if not photos and not self.remove and not self.ann and not self.cut and not self.export:
            raise UsageError("Nothing to do: give photos to index, {remove} PATTERN, {ann}, {cut}, or {export}.")
        if photos and self.remove:
            raise UsageError("Photos that {remove} deletes would be added again: give them in two separate commands.")

    def check_given(self, given: frozenset[str]) -> None:
        """Refuse what says how photos are read where there are none."""
        if self.paths():
            return
        for name in ("prune", "image", "caption", "frames", "regions"):
            if name in given:
                raise UsageError(f"No photos are given, so {{{name}}} has no effect: leave it out.")

    def run(self, context: Context) -> IndexReport:
        """Take the photos in, and do what else is asked for."""
        from diptych.data.files import database_address

        photos, out = self.paths(), context.out
        if photos and getattr(getattr(getattr(context, "given", None), "loaded", None), "folder", "") is None:
            raise UsageError("This space has no folder where a search could find it again: save it, then index.")
        if out is None and not photos:
            raise UsageError("An existing index has a folder: give it as {out}.")
        address = None if out is None else database_address(out)
        if address is not None and self.export is not None:
            raise UsageError(
                f"{{export}} is of an index in a folder, and other tools open {address} as it is: leave it out."
            )
        if self.export is not None:
            context.free_file(Path(self.export), "export")
        if self.ann and address is None:
            need_extra("index", "Approximate search")
        if out is not None:
            try:
                return self._run(context, photos, out)
            except UsageError as error:
                if len(photos) < 2 or os.path.exists(photos[-1]):
                    raise
                raise with_remedy(error, "the folder of the index is named by {out}") from None
        folder = Path(tempfile.mkdtemp(prefix="diptych-index-"))
        try:
            return self._run(context, photos, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _run(self, context: Context, photos: list[str], out: Path) -> IndexReport:
        from diptych.search_index.opening import index_at
        from diptych.tasks.search.cut import mark
        from diptych.tasks.search.export import export
        from diptych.tasks.search.index import remove

        taken = IndexReport(out)
        if self.remove:
            taken.result = remove(out, self.remove)
        if photos or self.ann:
            clips = clip_frames(photos, self.frames)
            if clips and (self.image or self.caption):
                raise UsageError("{image} and {caption} name columns of a table, and these are clips: leave them out.")
            if self.regions is not None and (clips or self.image or self.caption or self.prune):
                raise UsageError(
                    "Boxes of photos have no {frames}, {image}, {caption} and {prune}: leave these options out."
                )
            there = context.like(_facts(out), engine="torch" if clips else "")
            self._add(there, photos, clips, taken)
            taken.context = there
        if self.cut:
            with index_at(out) as index:
                facts = dict(index.facts)
            like = context.like(facts, wholly=True)
            taken.marked = mark(out, self.cut, like.model(spaces=True), like.run())
        if self.export is not None:
            count = export(out, Path(self.export), overwrite=context.overwrite)
            taken.lines.append(f"{count:,} entries in {self.export}")
        taken.failed += taken.result.failed if taken.result else ()
        taken.with_graphs = self.ann or bool(taken.built)
        return taken

    def _add(self, context: Context, photos: list[str], clips: int | None, taken: IndexReport) -> None:
        """Take records in, build the approximate index where it is due, and say how good it is."""
        from diptych.data.files import database_address
        from diptych.data.load import open_data, open_records
        from diptych.data.named_sets import located
        from diptych.data.records.parts import region_records, root
        from diptych.data.records.records import Records, joined
        from diptych.data.records.vectors import StoredVectors
        from diptych.search_index import ann as approximate
        from diptych.search_index import recall
        from diptych.tasks.search.approximate import approximate as build
        from diptych.tasks.search.cut import draw_words
        from diptych.tasks.search.index import index as take_in
        from diptych.tasks.search.index import unchanged
        from diptych.tasks.search.spaces import Source, has_words

        parts: list[Records] = []
        boxes, database = None, database_address(taken.folder) is not None
        if self.regions is not None and photos:
            from diptych.tasks.regions import RegionSource  # loads torch

            data = open_data(photos, context.keys, need="photos")
            boxes = RegionSource.open(data, self.regions, context.backbone, decode=context.run().decode)
            parts.append(region_records(boxes.regions))
        source = Source.of(photos, context.backbone, clips) if photos and boxes is None else None
        samples = None if source is None else source.modality
        if source is not None and samples is not None:
            parts += [source.records(p, context.keys) for p in photos]
        elif boxes is None:
            image, text = self.image or "", self.caption or ""
            parts += [open_records(p, context.keys, image=image, text=text, vectors=True) for p in photos]
        if samples is not None and samples.rows and (len(photos) > 1 or self.prune):
            raise UsageError(
                f"{samples.title.capitalize()} are indexed a table at a time, without {{prune}} and photos: leave "
                f"these out."
            )
        stored = [part.images for part in parts if isinstance(part.images, StoredVectors)]
        if stored and (len(photos) > 1 or self.prune):
            raise UsageError(
                "Stored vectors are indexed a source at a time, without {prune} and photos: leave these out."
            )
        if stored and not stored[0].provenance:
            taken.advice.append(
                f"Nothing says which backbone made these vectors: words are compared by {context.backbone}."
            )
        others = "regions" if boxes is not None else "" if samples is None else samples.title
        refuse_cluster(context, "stored vectors" if stored else others)
        records = joined(parts) if photos else None
        gone = [root(p, self.image) for p in photos] if self.prune else ()
        here = [located(p) for p in photos if "://" not in p]
        folders = [os.path.abspath(p) for p in here if p.is_dir()]
        if records is not None:
            context.expect(len(records))
        weightless = samples is None and (boxes is None or boxes.prompter is None)
        known = context.recalled() if records is not None and not self.ann and weightless else None
        result = unchanged(records, *known, taken.folder, prune=gone, folders=folders) if records and known else None
        if result is None:
            light = known if known and boxes is None and known[0].torchless(known[1], known[0].encoders) else None
            tower: Any
            tower, run = light or (context.model(spaces=True), context.run())
            if boxes is not None:
                tower = boxes.space(tower)
            elif source is not None and samples is not None:
                tower, run = source.space(tower, run), replace(run, engine=None)
            elif light is None:
                context.remember(tower)
                if records is not None and not stored:
                    context.encode_ahead(tower, records.images, run)
            if records is not None:
                result = take_in(records, tower, run, taken.folder, prune=gone, folders=folders)
                draw_words(taken.folder, tower, run)
            if self.ann or (not database and approximate.installed()):
                taken.built = build(
                    taken.folder, tower, run, always=self.ann, words=light is not None or has_words(tower)
                )
            for modality, graph in taken.built.items():
                shares = ", ".join(
                    f"{value:.3f} on {graph.queries[name]} {name}" for name, value in graph.stated.items()
                )
                taken.lines.append(
                    f"{modality}: {graph.kind}, {graph.nprobe} {graph.unit} a search, measured recall@10 {shares}"
                )
        if not database and not approximate.installed() and result is not None and result.entries > recall.EXACT:
            taken.advice.append(f"More than {recall.EXACT:,} entries: run {install('index')} for approximate search.")
        taken.result = result or taken.result


def model_options(facts: Mapping[str, Any]) -> tuple[str, str, bool]:
    """Return the backbone of photos, the precision, and whether drafts were decoded, that an index was made with."""
    from diptych.tasks.search.spaces import untrained_name

    name = untrained_name(str(facts.get("backbone", "lite")).removesuffix(REGIONS))[0]
    return name, str(facts.get("precision", "fp32")), facts.get("decode") == "draft"


def space_of(context: Context, name: str) -> Backbone:
    """Load the space of an index by its name, and remember the backbone of photos for the next search."""
    from diptych.tasks.search.spaces import space_named

    if name.endswith(REGIONS):
        from diptych.nn.dense.region_encoder import region_space
        from diptych.tasks.regions import prompter_of

        return region_space(context.model(), prompter_of(context.backbone))
    tower = space_named(name, context.model, context.run())
    if tower.spec.name == context.backbone:
        context.remember(tower)
    return tower


def _facts(out: Path) -> dict[str, Any]:
    from diptych.search_index.opening import holds_index, index_at

    if not holds_index(out):
        return {}
    with index_at(out) as index:
        return dict(index.facts)
