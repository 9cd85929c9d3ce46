"""The nearest entries whose files are there: photos that were deleted since they were indexed are left out."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from diptych.core.wording import first_of, from_here
from diptych.search_index.described import Vectors
from diptych.search_index.index import Index
from diptych.search_index.nearest import nearest
from diptych.search_index.opening import AnyIndex
from diptych.search_index.rows import Entry, Hit, Modality
from diptych.search_index.where import Condition

SAMPLE = 64
"""Entries all over an index that say whether its photos are on this machine at all."""


@dataclass(frozen=True)
class Present:
    """The nearest entries.

    Args:
        hits: best first, at most k.
        missing: names of entries nearer than the last hit, left out because their files are no longer there.
        unreachable: whether the hits are given though their files are not there, since no folder of the index is.
    """

    hits: list[Hit]
    missing: tuple[str, ...] = ()
    unreachable: bool = False

    def remark(self, folder: str) -> str:
        """Return what was left out of the answers of an index, in a sentence or two; "" where nothing was."""
        if self.unreachable:
            first = from_here(self.hits[0].entry.name)
            return (
                f"None of these photos is there now, such as {first}, nor are their folders: the index alone answers."
            )
        if not self.missing:
            return ""
        some = first_of([from_here(name) for name in self.missing])
        one = len(self.missing) == 1
        what = (
            "1 entry is left out: its photo is"
            if one
            else f"{len(self.missing):,} entries are left out: their photos are"
        )
        return (
            f"{what} no longer there ({some}). 'diptych index PHOTOS --out {shlex.quote(folder)} --prune' deletes such "
            f"entries."
        )


def nearest_present(
    index: AnyIndex,
    query: Vectors,
    k: int,
    weights: Mapping[Modality, float],
    *,
    where: Sequence[Condition] = (),
    exact: bool | None = None,
) -> Present:
    """Return the k nearest entries whose files are there. Arguments and errors are those of ``nearest``.

    An entry that never had a file is there, and so is every entry of a database that other machines may share. Where
    neither files nor folders of an index are there, as on a machine without its photos, all of its entries are answers.
    Only the files of the answers are looked for, k of them where none is missing.
    """
    fetch = k
    known: dict[str, bool] = {}
    while True:
        hits = nearest(index, query, fetch, weights, where=where, exact=exact)
        if not is_local(index):
            return Present(hits)
        for hit in hits:
            if hit.entry.name not in known:
                known[hit.entry.name] = is_there(hit.entry)
        places = [i for i, hit in enumerate(hits) if known[hit.entry.name]]
        if hits and not places and fetch == k and not _any_folder(index):
            return Present(hits, unreachable=True)
        if len(places) >= k or len(hits) < fetch:
            last = places[k - 1] if len(places) >= k else len(hits)
            missing = [hit.entry.name for hit in hits[:last] if not known[hit.entry.name]]
            return Present([hits[i] for i in places[:k]], tuple(missing))
        fetch *= 4


def is_local(index: AnyIndex) -> bool:
    """Return whether the files of an index lie where it lies: in a folder, as also Lance has, and not in a server."""
    return isinstance(index, Index) or index.folder.startswith("lance:")


def is_there(entry: Entry) -> bool:
    """Return whether the file of an entry is there, or that of the archive, table or photo that it is a part of. What
    had no file when it was indexed is there, and so is what cannot be looked at.
    """
    name = entry.name
    if not entry.stamp or not os.path.isabs(name) or _exists(name):
        return True
    return any(os.path.isfile(part) for part in (name.partition("!")[0], name.rpartition("[")[0]) if part != name)


def _exists(path: str) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True


def _any_folder(index: AnyIndex) -> bool:
    """Return whether the folder of any of some entries is there."""
    some = index.spread(SAMPLE) if isinstance(index, Index) else [name for name, _ in islice(index.keyed(), SAMPLE)]
    with suppress(ValueError):
        return any(os.path.isdir(os.path.dirname(name)) for name in some)
    return False
