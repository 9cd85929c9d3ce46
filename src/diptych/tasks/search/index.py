"""Take records into a search index, a slice at a time; what is unchanged is not read again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diptych.backbones.engines.cached_backbone import CachedBackbone
from diptych.core import Backbone, DataError, Run, UnreadableItem
from diptych.core.wording import none_readable
from diptych.data.files import named
from diptych.data.records.parts import RecordPart, root
from diptych.data.records.records import Records, stamp
from diptych.data.records.vectors import StoredVectors
from diptych.features.batch_size import calibrate
from diptych.features.embed import embed_arrays
from diptych.search_index import ann
from diptych.search_index.described import Vectors
from diptych.search_index.index import Index
from diptych.search_index.opening import AnyIndex, create_at, holds_index, index_at
from diptych.search_index.rows import Entry, Modality, dumped
from diptych.tasks.record import engine_of, now, precision_of, versions
from diptych.tasks.search.approximate import outgrown
from diptych.tasks.search.gone import Gone, gone
from diptych.tasks.search.interruption import Interruptible
from diptych.tasks.search.stored import refuse_others, stored_vectors

SLICE = 1024
"""Records embedded and committed at once: bounds memory, and what a kill can cost."""
WASTE = 0.3
"""Share of vectors of deleted entries from which on the files are written anew."""
WITHIN = tuple(f"{kind}[" for kind in (".csv", ".tsv", ".jsonl", ".parquet"))
"""What stands in the name of a row of a table: a folder around it is no source of it, as it is of tars."""


@dataclass(frozen=True)
class Indexed:
    """What was done.

    Args:
        entries: how many it holds now.
        added: new or changed ones.
        unchanged: those that were passed over unread.
        removed: deleted ones.
        failed: those that could not be read, and why.
        encoded: pictures and texts that went through a tower; the others came from the cache.
        seconds: wall seconds.
        changed: those of the added ones that were in the index before, as another picture, caption or metadata.
        gone: entries whose photos are no longer there.
    """

    out: Path
    entries: int
    added: int
    unchanged: int
    removed: int
    failed: tuple[UnreadableItem, ...]
    encoded: int
    seconds: float
    changed: int = 0
    gone: Gone = field(default_factory=Gone)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        names = ("entries", "added", "changed", "unchanged", "removed", "encoded")
        counts = {name: getattr(self, name) for name in names}
        skipped = [e.as_dict() for e in self.failed]
        lost = self.gone.as_dict()
        return {"index": named(self.out), **counts, **lost, "seconds": round(self.seconds, 3), "skipped": skipped}


def fingerprint(backbone: Backbone | CachedBackbone, run: Run) -> str:
    """Return what an index and its queries must share; of the precision, what was asked for."""
    return f"{backbone.fingerprint}-{run.precision}{'' if run.decode == 'exact' else f'-{run.decode}'}"


def open_index(out: Path, backbone: Backbone | CachedBackbone, run: Run) -> AnyIndex:
    """Open or make the index of a backbone.

    Raises:
        UsageError: it was made with another backbone, precision or decode, or the folder holds other files.
    """
    if holds_index(out):
        opened = index_at(out)
        opened.expect(fingerprint(backbone, run), backbone.spec.name)
        return opened
    facts = {
        "fingerprint": fingerprint(backbone, run),
        "backbone": backbone.spec.name,
        "precision": precision_of(backbone, run),
        "precision_asked": run.precision,
        "engine": engine_of(backbone, run),
        "decode": run.decode,
        "dim": backbone.image.dim,
        "spec": backbone.spec.as_dict(),
        "versions": versions(),
        "date": now(),
    }
    return create_at(out, facts)


def index(
    records: Records,
    backbone: Backbone | CachedBackbone,
    run: Run,
    out: Path,
    *,
    prune: Sequence[str] = (),
    folders: Sequence[str] = (),
) -> Indexed:
    """Add records to an index.

    Args:
        records: what to add, the last of a name; those with the same file, caption and metadata as before are passed
            over unread.
        backbone: embeds; that of the index, where there is one. A remembered one, where it encodes without torch.
        run: device, precision, cache and progress.
        out: folder of the index; made if absent.
        prune: folders and files whose entries are deleted where the records no longer name them.
        folders: that the records come from; entries below them whose files are no longer there are named.

    Raises:
        UsageError: the index was made with another backbone, the folder holds other files, or a table that names
            pictures is to be pruned.
        DataError: nothing can be read.
        KeyboardInterrupt: Ctrl-C; it says how many records are stored, and how to go on.
    """
    start, before = time.perf_counter(), run.tally["encoded"]
    records, roots = records.distinct(), [root(p) for p in prune]
    there, created = out.exists(), not holds_index(out)
    stored: object = records.images
    if isinstance(stored, StoredVectors):
        refuse_others(stored, backbone, run)
    added, changed, unchanged, failed = 0, 0, 0, list(records.failed)
    with open_index(out, backbone, run) as opened:
        if not len(opened) and not isinstance(stored, StoredVectors):
            run = calibrate(backbone.image, RecordPart(records, "image"), run)
        stores = None if run.cache is None else run.tally
        with run.track("index", len(records)) as bar, Interruptible(out, len(records), stores) as progress:
            for first in range(0, len(records), SLICE):
                rows = range(first, min(first + SLICE, len(records)))
                fresh = _fresh(opened, records, rows)
                unchanged += len(rows) - len(fresh)
                if fresh:
                    changed += len(opened.numbers([records.names[i] for i in fresh]))
                    stored, broken = _add(opened, records, fresh, backbone, run)
                    added, failed = added + stored, failed + broken
                progress.advance(len(rows))
                bar.advance(len(rows))
        removed, lost = _pruned(opened, records, roots, folders)
        count = len(opened)
    if not count and failed:
        if created and out.is_dir():  # no empty index is left behind
            shutil.rmtree(out)
            if there:
                out.mkdir()
        raise DataError(none_readable(len(records), "records", failed))
    encoded = run.tally["encoded"] - before
    seconds = time.perf_counter() - start
    return Indexed(out, count, added, unchanged, removed, tuple(failed), encoded, seconds, changed, lost)


def unchanged(
    records: Records,
    backbone: CachedBackbone,
    run: Run,
    out: Path,
    *,
    prune: Sequence[str] = (),
    folders: Sequence[str] = (),
) -> Indexed | None:
    """Do what ``index`` does where nothing needs the backbone's weights; None where something is new, or there is more
    to build.

    Args:
        records: as for ``index``.
        backbone: by name only.
        run: decides the index that fits.
        out: folder of the index.
        prune: as for ``index``.
        folders: as for ``index``.

    Raises:
        UsageError: the index was made with another backbone, or a table that names pictures is to be pruned.
    """
    start = time.perf_counter()
    records, roots = records.distinct(), [root(p) for p in prune]
    if not holds_index(out):
        return None
    with index_at(out) as opened:
        opened.expect(fingerprint(backbone, run), backbone.spec.name)
        if isinstance(opened, Index) and ann.installed() and outgrown(opened, always=False):
            return None
        with run.track("index", len(records)) as bar:
            for first in range(0, len(records), SLICE):
                rows = range(first, min(first + SLICE, len(records)))
                if _fresh(opened, records, rows):
                    return None
                bar.advance(len(rows))
        removed, lost = _pruned(opened, records, roots, folders)
        seconds = time.perf_counter() - start
        return Indexed(out, len(opened), 0, len(records), removed, records.failed, 0, seconds, 0, lost)


def _pruned(opened: AnyIndex, records: Records, roots: Sequence[str], folders: Sequence[str]) -> tuple[int, Gone]:
    going = list(_gone(opened, records, roots)) if roots else []
    lost = gone(opened, records.names, folders, going)
    removed = opened.delete(going) if going else 0
    if opened.wasted() > WASTE:
        opened.compact()
    return removed, lost


def remove(out: Path, patterns: Sequence[str]) -> Indexed:
    """Delete the entries whose names match a shell pattern (``*`` also crosses folders) or are one.

    Raises:
        UsageError: there is no index.
        DataError: a pattern matches nothing.
    """
    start = time.perf_counter()
    with index_at(out) as opened:
        names = dict[str, None]()
        for pattern in patterns:
            matches = [
                n for p in (pattern, str(Path(pattern).absolute())) for n in (*opened.stamps([p]), *opened.names(p))
            ]
            if not matches:
                raise DataError(
                    f"No entry of {named(out)} matches {pattern!r}: give a path, or a pattern such as '*/holiday/*'."
                )
            names |= dict.fromkeys(matches)
        removed = opened.delete(list(names))
        if opened.wasted() > WASTE:
            opened.compact()
        return Indexed(out, len(opened), 0, len(opened), removed, (), 0, time.perf_counter() - start)


def _fresh(opened: AnyIndex, records: Records, rows: range) -> list[int]:
    known = opened.stamps([records.names[i] for i in rows])
    return [
        i
        for i in rows
        if known.get(records.names[i]) != (_stamp(records, i), records.texts[i] or "", dumped(_facts(records, i)))
    ]


def _stamp(records: Records, i: int) -> str:
    place = records.places[i]
    return "" if place is None else stamp(records.images.name(place))


def _facts(records: Records, i: int) -> dict[str, Any]:
    return dict(records.facts[i]) if records.facts else {}


def _add(
    opened: AnyIndex, records: Records, rows: list[int], backbone: Backbone | CachedBackbone, run: Run
) -> tuple[int, list[UnreadableItem]]:
    some = records.take(rows)
    # before reading: a file that changes meanwhile is read again next time
    stamps = [_stamp(some, i) for i in range(len(some))]
    broken: dict[int, UnreadableItem] = {}
    vectors: dict[Modality, tuple[Any, Vectors]] = {}
    for modality in ("image", "text"):
        part = RecordPart(some, modality)
        if len(part):
            encoder: Any = backbone.encoders[modality]
            embedded = stored_vectors(part) or embed_arrays(encoder, part, run)
            bad = {e.name: e for e in embedded.failed}
            broken |= {i: bad[some.names[i]] for i in part.rows if some.names[i] in bad}
            positions = np.asarray([part.rows[int(k)] for k in embedded.kept], dtype=np.int64)
            vectors[modality] = positions, embedded.values[:, 0]
    there = [some.places[i] is not None or some.texts[i] is not None for i in range(len(some))]
    readable = [i for i in range(len(some)) if there[i] and i not in broken]
    place = {i: n for n, i in enumerate(readable)}
    whole: dict[Modality, tuple[Any, Vectors]] = {}
    for m, (positions, values) in vectors.items():
        keep = np.isin(positions, readable)
        whole[m] = (np.asarray([place[int(i)] for i in positions[keep]], dtype=np.int64), values[keep])
    keys = ["" if (p := some.places[i]) is None else some.images.key(p) for i in readable]
    rows_of = zip(readable, keys, strict=True)
    opened.add([Entry(some.names[i], stamps[i], k, some.texts[i] or "", _facts(some, i)) for i, k in rows_of], whole)
    return len(readable), [broken[i] for i in sorted(broken)]


def _gone(opened: AnyIndex, records: Records, roots: Sequence[str]) -> Iterator[str]:
    held = set(records.names)
    for path in roots:
        for name in opened.names():
            below = name.startswith(path + "/") and not any(mark in name[len(path) :].lower() for mark in WITHIN)
            if name not in held and (below or name == path or name.startswith((path + "!", path + "["))):
                yield name
