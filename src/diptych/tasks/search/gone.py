"""Entries of an index whose photos are no longer there: which were renamed, and which were removed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from diptych.core.wording import first_of, from_here, number_of
from diptych.data.images import SUFFIXES
from diptych.search_index.opening import AnyIndex
from diptych.tasks.search.present import is_local


@dataclass(frozen=True)
class Gone:
    """Entries whose files are no longer there.

    Args:
        missing: names of those that are still in the index; a search leaves them out.
        deleted: names of those that were deleted.
        renamed: name of an entry among both -> another name under which the same photo is in the index.
        folders: those that were looked through; entries of other folders are here where their photo has another name.
    """

    missing: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Return plain data for JSON."""
        return {"missing": list(self.missing), "deleted": list(self.deleted), "renamed": dict(self.renamed)}

    def remarks(self) -> list[str]:
        """Return which entries were deleted, and which a person should delete, and how."""
        lines = []
        if self.deleted:
            lines.append(f"Deleted, because they are no longer there: {self._listed(self.deleted)}.")
        below = [n for n in self.missing if _is_below(n, self.folders)]
        elsewhere = [n for n in self.missing if not _is_below(n, self.folders)]
        if below:
            lines.append(f"{_no_longer(below)}: {self._listed(below)}. {{prune}} deletes such entries.")
        if elsewhere:
            lines.append(f"{_no_longer(elsewhere)}: {self._listed(elsewhere)}. {_how_to_delete(elsewhere)}")
        return lines

    def _listed(self, names: Sequence[str]) -> str:
        return first_of(
            [from_here(n) + (f" (now {from_here(self.renamed[n])})" if n in self.renamed else "") for n in names]
        )


def gone(opened: AnyIndex, held: Collection[str], folders: Iterable[str], pruned: Sequence[str] = ()) -> Gone:
    """Return the entries whose photos are no longer there.

    Args:
        opened: the index, with what was added, and before anything is deleted.
        held: names of the records that were given.
        folders: absolute paths of the folders that were given.
        pruned: names of entries that are going to be deleted.

    Returns:
        The entries below the folders, and those whose photo has been given under another name. Of a server or a
        bucket, which may be far away and large, only those that are deleted.
    """
    held, going, folders = frozenset(held), frozenset(pruned), tuple(folders)
    if not is_local(opened) and not going:
        return Gone()
    now: dict[str, str] = {}
    others: list[tuple[str, str]] = []
    for name, key in opened.keyed():
        if name in held:
            if key:
                now[key] = name
        elif name in going or _is_photo(name):
            others.append((name, key))
    missing = [
        name
        for name, key in others
        if name not in going and (key in now or _is_below(name, folders)) and not os.path.exists(name)
    ]
    lost = going.union(missing)
    return Gone(
        tuple(sorted(missing)),
        tuple(sorted(going)),
        {name: now[key] for name, key in others if name in lost and key in now},
        folders,
    )


def _no_longer(names: Sequence[str]) -> str:
    are = "entry is of a photo that is" if len(names) == 1 else "entries are of photos that are"
    return f"{number_of(len(names), are, are)} no longer there, and a search leaves {_them(names)} out"


def _how_to_delete(names: Sequence[str]) -> str:
    """Name a pattern only where no photo that is still there can match it."""
    if len(names) == 1:
        return f"Without photos, {{remove}} {shlex.quote(names[0])} deletes it."
    folder = os.path.commonpath(names)
    if os.path.exists(folder):
        return "Without photos, {remove} deletes each by its path."
    return f"Without photos, {{remove}} {shlex.quote(os.path.join(folder, '*'))} deletes them."


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"


def _is_below(name: str, folders: Iterable[str]) -> bool:
    return any(name.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)


def _is_photo(name: str) -> bool:
    """Return whether an entry is a photo in a file of its own, and no row of a table, member of an archive or box."""
    return os.path.isabs(name) and "!" not in name and Path(name).suffix.lower() in SUFFIXES
