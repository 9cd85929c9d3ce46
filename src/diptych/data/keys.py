"""Content keys of files, cached so that an unchanged file is read once."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeAlias, TypeVar

from diptych.core import UnreadableItem, UsageError
from diptych.data.files import drafted, move

_LOG = logging.getLogger(__name__)
_SCHEMA = 1
_BATCH = 256
_PATIENCE = 60.0  # seconds

T = TypeVar("T")
Row: TypeAlias = tuple[int, int, str]  # size, mtime_ns, key


def hash_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal.

    Raises:
        UnreadableItem: the file is missing or cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str | os.PathLike[str], error: OSError) -> UnreadableItem:
    reason = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
    return UnreadableItem(os.fspath(path), reason)


class FileKeys:
    """SHA-256 of files, cached by absolute path, size and modification time in nanoseconds.

    Several threads and processes may use one file of keys at once. New keys are written in batches, and a killed
    process loses only its last batch. A damaged file of keys is moved aside with a logged message, and a new one
    is written. A file in a folder that is read-only is read, and new keys are cached within this object.

    Args:
        path: SQLite file; None caches within this object only.
        verify: whether to hash every file again (default False).

    Raises:
        UsageError: the file of keys cannot be created.
    """

    def __init__(self, path: Path | None = None, *, verify: bool = False) -> None:
        self.path, self.verify = path, verify
        self.hashed = 0
        self._lock = threading.RLock()
        self._pending: dict[bytes, Row] = {}
        self._process = os.getpid()
        self._read_only = path is not None and path.parent.is_dir() and not os.access(path.parent, os.W_OK)
        self._database = None if path is None else self._open(path)

    def key(self, path: str | os.PathLike[str]) -> str:
        """Return the key of one file.

        Raises:
            UnreadableItem: the file is missing or cannot be read.
        """
        return self.keys_of([path])[0]

    def keys_of(self, paths: Sequence[str | os.PathLike[str]]) -> list[str]:
        """Return the keys of N files, with one ``stat`` each and one reading of each new or changed file.

        Raises:
            UnreadableItem: a file is missing or cannot be read; keys of files before it stay cached.
        """
        keys = []
        for path in paths:
            absolute = os.fsencode(os.path.abspath(path))
            try:
                before = os.stat(path)
            except OSError as error:
                raise _unreadable(path, error) from None
            if not stat.S_ISREG(before.st_mode):  # reading a pipe would block
                raise UnreadableItem(
                    os.fspath(path), "is no regular file: a pipe, device or folder has no pixels to read"
                )
            key = None if self.verify else self._cached(absolute, before.st_size, before.st_mtime_ns)
            if key is None:
                key = hash_file(path)
                self.hashed += 1
                with contextlib.suppress(OSError):
                    after = os.stat(path)
                    if (after.st_size, after.st_mtime_ns) == (
                        before.st_size,
                        before.st_mtime_ns,
                    ):  # else the file changed meanwhile
                        self._cache(absolute, before.st_size, before.st_mtime_ns, key)
            keys.append(key)
        return keys

    def flush(self) -> None:
        """Write the pending keys; do nothing where keys are cached in this object only."""
        if self._read_only:
            return
        with self._lock:
            if self.path is None or not self._pending:
                return
            rows = [(absolute, *row) for absolute, row in self._pending.items()]
            self._attempt(lambda database: _write(database, rows))
            self._pending.clear()

    def close(self) -> None:
        """Write the pending keys and close the file of keys; a later call opens it again."""
        with self._lock:
            self.flush()
            if self._database is not None and self._process == os.getpid():
                self._database.close()
            self._database = None

    def __enter__(self) -> FileKeys:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self, suppress: type[contextlib.suppress] = contextlib.suppress) -> None:
        with suppress(Exception):  # the constructor may have failed, or the interpreter is exiting and modules are gone
            self.close()

    def __reduce__(self) -> tuple[partial[FileKeys], tuple[Path | None]]:
        return partial(FileKeys, verify=self.verify), (self.path,)

    def _cached(self, absolute: bytes, size: int, mtime: int) -> str | None:
        with self._lock:
            row = self._pending.get(absolute)
            if row is None and self.path is not None:
                row = self._attempt(lambda database: _look_up(database, absolute))
            return row[2] if row and row[:2] == (size, mtime) else None

    def _cache(self, absolute: bytes, size: int, mtime: int, key: str) -> None:
        with self._lock:
            self._pending[absolute] = (size, mtime, key)
            if len(self._pending) >= _BATCH:
                self.flush()

    def _attempt(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Run an action on this process's connection, and again on a new file where the file is damaged."""
        assert self.path is not None
        if self._database is None or self._process != os.getpid():  # closed, or inherited by fork, which SQLite forbids
            self._process, self._database = os.getpid(), self._open(self.path)
        try:
            return action(self._database)
        except sqlite3.OperationalError as error:
            raise UsageError(
                f"Cannot use the file of keys {self.path} ({error}): free space, or choose another cache folder."
            ) from None
        except sqlite3.DatabaseError as error:
            self._database.close()
            if not self._read_only:
                _set_aside(self.path, error)
            self._database = self._open(self.path)
            return action(self._database)

    def _open(self, path: Path) -> sqlite3.Connection:
        if self._read_only:
            return _connect_for_reading(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                return _connect(path)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                _set_aside(path, error)
                return _connect(path)
        except (OSError, sqlite3.OperationalError) as error:
            raise UsageError(
                f"Cannot use the file of keys {path} ({error}): choose a cache folder that can be written "
                f"({{cache}}, or DIPTYCH_CACHE)."
            ) from None


class KeyedFiles:
    """Samples of files and folders, named by their paths; frozen dataclasses derive from it."""

    paths: Sequence[str]
    keys: FileKeys | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", tuple(os.fspath(p) for p in self.paths))
        object.__setattr__(self, "_keys", FileKeys() if self.keys is None else self.keys)

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int, /) -> str:
        """Return the path."""
        return self.paths[index]


def move_keys(path: Path, target: Path) -> None:
    """Move a file of keys.

    Nothing happens where there is none, it is damaged, or the target exists, since keys can be computed again.

    Raises:
        UsageError: the target cannot be written.
    """
    if not path.exists() or target.exists():
        return
    try:
        with (
            drafted(target) as draft,
            contextlib.closing(sqlite3.connect(path)) as old,
            contextlib.closing(sqlite3.connect(draft)) as new,
        ):
            old.backup(new)
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    except (OSError, sqlite3.OperationalError) as error:
        raise UsageError(
            f"Cannot write the file of keys {target} ({error}): choose a folder that can be written."
        ) from None
    except sqlite3.DatabaseError:
        return


def _connect(path: Path) -> sqlite3.Connection:
    """Open and check a file of keys, or create one; DatabaseError where it is damaged or of another program."""
    database = sqlite3.connect(path, timeout=_PATIENCE, check_same_thread=False)
    try:
        _with_patience(lambda: database.execute("PRAGMA journal_mode = WAL"))
        database.execute("PRAGMA synchronous = NORMAL")
        with database:
            database.execute("BEGIN IMMEDIATE")
            (schema,) = database.execute("PRAGMA user_version").fetchone()
            (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if schema == 0 and tables == 0:
                database.execute(
                    "CREATE TABLE files (path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, key TEXT) WITHOUT ROWID"
                )
                database.execute(f"PRAGMA user_version = {_SCHEMA}")
            elif schema != _SCHEMA:
                raise sqlite3.DatabaseError(f"schema {schema} instead of {_SCHEMA}")
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
    except BaseException:
        database.close()
        raise
    return database


def _connect_for_reading(path: Path) -> sqlite3.Connection:
    """Open a file of keys in a folder that cannot be written, or an empty one in memory where it cannot be read."""
    with contextlib.suppress(sqlite3.Error):
        # Without "immutable" SQLite makes files beside one that has a write-ahead log.
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        database = sqlite3.connect(uri, uri=True, check_same_thread=False)
        with contextlib.suppress(sqlite3.Error):
            (schema,) = database.execute("PRAGMA user_version").fetchone()
            (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if (schema, verdict) == (_SCHEMA, "ok"):
                return database
        database.close()
    empty = sqlite3.connect(":memory:", check_same_thread=False)
    empty.execute("CREATE TABLE files (path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, key TEXT) WITHOUT ROWID")
    return empty


def _with_patience(action: Callable[[], object]) -> None:
    """Retry an action while another process locks the file; SQLite's time-out does not cover the switch to WAL."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            action()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.02)


def _look_up(database: sqlite3.Connection, absolute: bytes) -> Row | None:
    row = database.execute("SELECT size, mtime_ns, key FROM files WHERE path = ?", (absolute,)).fetchone()
    return None if row is None else (int(row[0]), int(row[1]), str(row[2]))


def _write(database: sqlite3.Connection, rows: Iterable[tuple[bytes, int, int, str]]) -> None:
    with database:
        database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)


def _set_aside(path: Path, error: Exception) -> None:
    aside = next(p for n in itertools.count(1) if not (p := path.with_name(f"{path.name}.damaged-{n}")).exists())
    with contextlib.suppress(FileNotFoundError):  # another process may have done so already
        move(path, aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    _LOG.warning("The file of keys %s is damaged (%s): it is moved to %s, and a new one is built.", path, error, aside)
