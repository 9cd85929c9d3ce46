"""The life of an embedding store: what it holds, taking out the spaces that were used longest ago, moving it
elsewhere.

Only files that the store itself wrote are ever deleted, known by place and name; all else in the folder stays. A space
is deleted and moved under its lock, in an order that leaves a sound, smaller space wherever a kill interrupts it.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from diptych.core import UsageError
from diptych.data.files import drafted, locked
from diptych.store.folder import read_facts, settle, using
from diptych.store.sealed import BrokenFileError
from diptych.store.shards import list_shards, read_blocks
from diptych.store.store import Store

_NAME = re.compile(r"[0-9a-f]{32}")
_DRAFT = r"|\.[^/]+\.[0-9a-f]{32}\.tmp"
# Of a space's files, in the order of deletion: where pools lie, a list before the array that it names, plans after what
# they planned, the facts last.
_FILES = (
    ("pools", re.compile(r"[0-9a-f]{32}\.json" + _DRAFT)),
    ("shards", re.compile(r"([0-9]{8}-[0-9]{6}|merged-[0-9a-f]{16})\.json")),
    ("shards", re.compile(r"[0-9a-z-]{1,64}\.npy" + _DRAFT)),
    ("plans", re.compile(r"[0-9]{8}\.(json|damaged)" + _DRAFT)),
    ("", re.compile(r"space\.json" + _DRAFT)),
)


@dataclass(frozen=True)
class Space:
    """One space of a store.

    Args:
        name: 32 hexadecimal digits.
        facts: what made its vectors.
        vectors: number of keys that it answers.
        used: time of last use, seconds since 1970.
    """

    name: str
    facts: Mapping[str, Any]
    vectors: int
    bytes: int
    used: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        used = datetime.fromtimestamp(self.used, UTC).isoformat(timespec="seconds")
        return {
            "space": self.name,
            "facts": dict(self.facts),
            "vectors": self.vectors,
            "bytes": self.bytes,
            "used": used,
        }


def list_spaces(folder: Path) -> list[Space]:
    """Return the spaces of a store, the one that was used longest ago first.

    Raises:
        UsageError: there is no store in the folder, or it has another schema.
        DiptychError: the folder cannot be used.
    """
    Store(folder, read_only=True)
    with using(folder):
        spaces = [_look(path, facts) for path in folder.iterdir() if (facts := _facts(path)) is not None]
    return sorted(spaces, key=lambda s: (s.used, s.name))


def foreign(folder: Path) -> list[Path]:
    """Return the files in the folder of a store that are not of it, sorted; nothing here ever changes them."""
    with using(folder):
        paths = []
        for path in folder.iterdir():
            if _facts(path) is not None:
                known = {*_files_of(path), path / "lock"}
                paths += [p for p in path.rglob("*") if not p.is_dir() and p not in known]
            elif path.name not in ("store.json", "lock"):
                paths.append(path)
    return sorted(paths)


class Kept(Protocol):
    """What takes room in a cache."""

    @property
    def name(self) -> str:
        """Of its folder."""

    @property
    def bytes(self) -> int:
        """Size of its files."""

    @property
    def used(self) -> float:
        """Time of last use, seconds since 1970."""


K = TypeVar("K", bound=Kept)


def oldest(spaces: Sequence[K], max_bytes: int) -> list[K]:
    """Return the spaces to take out, longest unused first, so that the rest holds at most ``max_bytes``."""
    total, chosen = sum(s.bytes for s in spaces), []
    for space in sorted(spaces, key=lambda s: (s.used, s.name)):
        if total <= max_bytes:
            break
        chosen.append(space)
        total -= space.bytes
    return chosen


def in_use(spaces: Collection[K], idle: float) -> list[K]:
    """Return the spaces that were used within ``idle`` seconds when they were listed."""
    return [s for s in spaces if time.time() - s.used < idle]


def remove(folder: Path, spaces: Collection[Space], *, idle: float = 600.0) -> list[Space]:
    """Delete spaces.

    Args:
        folder: of the store.
        spaces: as ``list_spaces`` gave them.
        idle: a space that was used within so many seconds is probably in use and stays.

    Returns:
        Those that stayed.

    Raises:
        DiptychError: the folder cannot be used.
    """
    in_use_now = []
    for space in spaces:
        path = folder / space.name
        with using(folder):
            if _facts(path) is None:  # another process was quicker
                continue
            with locked(path / "lock"):
                if time.time() - _used(path) < idle:
                    in_use_now.append(space)
                    continue
                _delete(path)
            _clear(path)
    return in_use_now


def move(
    folder: Path, target: Path, *, idle: float = 600.0, done: Callable[[Space], None] = lambda space: None
) -> list[Space]:
    """Move all spaces of a store into another folder; where it was interrupted, the same call goes on.

    Args:
        folder: of the store.
        target: folder of the new store; made if absent.
        idle: a space that was used within so many seconds is probably in use and stays.
        done: called after each space that was moved.

    Returns:
        Those that stayed.

    Raises:
        UsageError: there is no store in the folder, one folder is inside the other, or the target holds other files of
            the same space.
        DiptychError: a folder cannot be used: no space, no permission.
    """
    spaces, (old, new) = list_spaces(folder), (folder.resolve(), target.resolve())
    if old == new or old in new.parents or new in old.parents:
        raise UsageError(f"{target} and {folder}: one is inside the other. Name a folder elsewhere.")
    settle(target, read_only=False, report=lambda damage: None)
    for space in spaces:
        _check_target(folder / space.name, target / space.name)
    in_use_now = []
    for space in spaces:
        path = folder / space.name
        with using(folder), locked(path / "lock"):
            if time.time() - _used(path) < idle:
                in_use_now.append(space)
                continue
            with using(target):
                _copy(path, target / space.name)
            _delete(path)
        with using(folder):
            _clear(path)
        done(space)
    return in_use_now


def _facts(path: Path) -> dict[str, Any] | None:
    return read_facts(path) if _NAME.fullmatch(path.name) and not path.is_symlink() else None


def _look(path: Path, facts: dict[str, Any]) -> Space:
    keys: set[str] = set()
    for shard in list_shards(path / "shards"):
        try:
            blocks = read_blocks(path / "shards", shard)
        except (BrokenFileError, FileNotFoundError):  # damaged: the store reports it when it meets it; or just merged
            continue
        keys.update(k for block in blocks for k in block.keys)
    return Space(path.name, facts, len(keys), sum(p.stat().st_size for p in _files_of(path)), _used(path))


def _used(path: Path) -> float:
    """Return when a space was opened or written for the last time."""
    return max(p.stat().st_mtime for p in (path / "space.json", path / "plans", path / "shards") if p.exists())


def _files_of(path: Path) -> list[Path]:
    files = []
    for part, pattern in _FILES:
        folder = path / part
        if folder.is_dir() and not folder.is_symlink():
            names = sorted(e.name for e in os.scandir(folder) if e.is_file(follow_symlinks=False))
            files += [folder / name for name in names if pattern.fullmatch(name)]
    return files


def _delete(path: Path) -> None:
    for file in _files_of(path):
        file.unlink(missing_ok=True)


def _clear(path: Path) -> None:
    """Delete the lock, once it is released as Windows demands, and the folders that are empty."""
    (path / "lock").unlink(missing_ok=True)
    for folder in (path / "pools", path / "shards", path / "plans", path):
        with contextlib.suppress(OSError):  # not empty, or a link
            folder.rmdir()


def _check_target(path: Path, target: Path) -> None:
    """Refuse a target that holds what the space does not: it is no interrupted move."""
    with using(target.parent):
        for file in _files_of(target):
            ours = path / file.relative_to(target)
            if file.suffix != ".tmp" and not (ours.is_file() and filecmp.cmp(ours, file, shallow=False)):
                raise UsageError(
                    f"{target.parent} already holds embeddings of the space {path.name}: name another folder, or "
                    f"prune one of both."
                )


def _copy(path: Path, target: Path) -> None:
    """Bring all files of a space into a folder, a list after the array that it names; compare them; keep the times."""
    for part in ("plans", "shards", "pools"):
        (target / part).mkdir(parents=True, exist_ok=True)
    for file in (f for f in reversed(_files_of(path)) if f.suffix != ".tmp"):
        copy = target / file.relative_to(path)
        if copy.exists():
            continue
        with drafted(copy) as draft:
            try:
                os.link(file, draft)
            except OSError:  # another file system, or one without links
                shutil.copy2(file, draft)
                if not filecmp.cmp(file, draft, shallow=False):
                    raise OSError(f"{copy} differs from what was written") from None
    for part in ("plans", "shards"):
        if (path / part).is_dir():
            shutil.copystat(path / part, target / part)
