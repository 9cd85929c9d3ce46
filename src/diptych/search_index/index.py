"""A search index of memory-mapped vectors and SQLite rows, with NumPy only; ``index.ann`` has approximate search.

    folder/index.json          {"schema": 1, "facts": ...}: backbone, width, what was indexed
    folder/rows.sqlite         a row an item: name, stamp, key, caption, facts, and its slots in the files of vectors
    folder/create.lock         held by the process that makes the index, and empty
    folder/image-3.f32         (n, D) little-endian float32 unit vectors by slot, text-3.f32 those of the captions

Nothing committed is lost. ``add`` takes SQLite's write lock, appends vectors, forces them to the disk, and then commits
rows and their number. A process that is killed before the commit leaves bytes without rows, which the next writer
overwrites. ``compact`` writes a new file and switches to it in one commit. Readers need no lock, since they read number
and file in one query.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DamagedStore, DataError, UsageError
from diptych.data.files import address_of, append, locked, write_json
from diptych.search_index.described import Described, Vectors
from diptych.search_index.mapped import Mapped
from diptych.search_index.rows import MODALITIES, TABLES, Entry, Modality, Rows, bound, dumped

_SCHEMA = 1
_MAPPED: Mapped[Vectors] = Mapped()
_LOCK = "create.lock"  # held while the index is made, so that of several processes one makes it
_DATABASE = tuple(f"rows.sqlite{end}" for end in ("", "-wal", "-shm", "-journal"))


class Index(Rows, Described):
    """An open index. An object is for one thread; several processes may read and write.

    Args:
        folder: a folder of ``Index.create``.

    Raises:
        UsageError: there is no such folder, it is an address of object storage, or the index has another schema.
        DataError: the folder holds no index.
        DamagedStore: its files are damaged.
    """

    folder: Path

    def __init__(self, folder: Path) -> None:
        self.folder = _here(folder)
        try:
            content = json.loads((folder / "index.json").read_bytes())
        except OSError:
            if folder.is_dir():
                raise DataError(
                    f"{folder} holds no index: make one with 'diptych index PHOTOS --out FOLDER', and give that folder."
                ) from None
            raise UsageError(
                f"There is no index at {folder}: make one with 'diptych index PHOTOS --out {shlex.quote(str(folder))}'."
            ) from None
        except ValueError:
            raise DamagedStore(f"{folder / 'index.json'} is damaged: remove the folder and index again.") from None
        if content.get("schema") != _SCHEMA:
            raise UsageError(
                f"{folder} has schema {content.get('schema')}, and this version reads {_SCHEMA}: index again."
            )
        self.describe(content["facts"])
        if not (folder / "rows.sqlite").is_file():
            raise DamagedStore(f"{folder} has lost its rows.sqlite: remove the folder and index again.")
        super().__init__(folder / "rows.sqlite")
        self._maps: dict[Modality, tuple[int, Vectors]] = {}

    @classmethod
    def create(cls, folder: Path, facts: Mapping[str, Any]) -> Index:
        """Create an empty index, or open an existing one, whose facts, "dim" and "fingerprint" of the encoder among
        them, must be the same.

        Raises:
            UsageError: the existing index is of another backbone, or the folder has other files or is an address.
        """
        if (_here(folder) / "index.json").exists():
            index = cls(folder)
            index.expect(str(facts["fingerprint"]), str(facts.get("backbone", "")))
            return index
        _refuse_other_files(folder)
        with _disk_full_named(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder / _LOCK):
                if not (folder / "index.json").exists():  # no other process made it meanwhile
                    _refuse_other_files(folder)
                    for name in _DATABASE:  # an old log would be applied to the new database
                        (folder / name).unlink(missing_ok=True)
                    with closing(sqlite3.connect(folder / "rows.sqlite")) as database:
                        database.execute("PRAGMA journal_mode = WAL")
                        database.executescript(TABLES)
                    write_json(folder / "index.json", {"schema": _SCHEMA, "facts": facts})
        return cls.create(folder, facts)

    def close(self) -> None:
        """Close the files."""
        self._maps.clear()
        self._database.close()

    def add(self, entries: Sequence[Entry], vectors: Mapping[Modality, tuple[NDArray[np.int64], Vectors]]) -> None:
        """Add or replace entries, all or none, and force them to the disk.

        Args:
            entries: n items; one with an existing name replaces that entry.
            vectors: modality -> (positions in ``entries`` that have a vector, (m, D) vectors, which are normalised).

        Raises:
            DataError: sizes differ, or a vector is zero or not finite.
        """
        unit = self.unit(vectors)
        with self._writing():
            slots: dict[Modality, dict[int, int]] = {m: {} for m in MODALITIES}
            for modality, (positions, values) in unit.items():
                number, count = self._file(modality)
                append(self._path(modality, number), values.astype("<f4").tobytes(), count * self.dim * 4)
                slots[modality] = {int(p): count + i for i, p in enumerate(positions)}
                self._database.execute(
                    "UPDATE files SET slots = ? WHERE modality = ?", (count + len(positions), modality)
                )
            self._database.executemany("DELETE FROM rows WHERE name = ?", [(bound(e.name),) for e in entries])
            self._database.executemany(
                "INSERT INTO rows (name, stamp, key, caption, facts, image, text) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        bound(e.name),
                        e.stamp,
                        e.key,
                        e.caption,
                        dumped(e.facts),
                        slots["image"].get(i),
                        slots["text"].get(i),
                    )
                    for i, e in enumerate(entries)
                ],
            )

    def delete(self, names: Sequence[str]) -> int:
        """Delete entries by name, all or none, and return their number.

        ``compact`` removes their vectors.
        """
        with self._writing():
            before = self._database.total_changes
            self._database.executemany("DELETE FROM rows WHERE name = ?", [(bound(name),) for name in names])
            return self._database.total_changes - before

    def wasted(self) -> float:
        """Return the share of slots without a row, in [0, 1]."""
        slots = sum(self._file(m)[1] for m in MODALITIES)
        used = int(self._one("SELECT count(image) + count(text) FROM rows"))
        return 1 - used / slots if slots else 0.0

    def compact(self) -> None:
        """Write the vectors of present entries to new files; a killed process leaves the old or the new files."""
        old: list[Path] = []
        with self._writing():
            for modality in MODALITIES:
                number, _ = self._file(modality)
                stored, path = self.vectors(modality), self._path(modality, number + 1)
                path.write_bytes(b"")
                start, column = 0, 1 + MODALITIES.index(modality)
                for part in self.places(modality, size=self.chunk):
                    append(path, np.asarray(stored[part[:, column]]).tobytes(), start * self.dim * 4)
                    start += len(part)
                # Moved below zero first: the column is unique at every moment.
                ranked = (
                    f"SELECT id, row_number() OVER (ORDER BY {modality}) AS n FROM rows WHERE {modality} IS NOT NULL"
                )
                self._database.execute(f"UPDATE rows SET {modality} = -r.n FROM ({ranked}) AS r WHERE rows.id = r.id")
                self._database.execute(f"UPDATE rows SET {modality} = -{modality} - 1 WHERE {modality} IS NOT NULL")
                self._database.execute(
                    "UPDATE files SET number = ?, slots = ? WHERE modality = ?", (number + 1, start, modality)
                )
                old.append(self._path(modality, number))
        self._maps.clear()
        for path in old:
            path.unlink(missing_ok=True)
            path.with_suffix(".faiss").unlink(missing_ok=True)

    def vectors(self, modality: Modality) -> Vectors:
        """Return the memory-mapped (slots, D) unit vectors, including those of deleted entries.

        Raises:
            DamagedStore: the file is shorter than its number of slots.
        """
        number, count = self._file(modality)
        mapping = self._maps.get(modality)
        if mapping is None or mapping[0] != number or len(mapping[1]) != count:
            path = self._path(modality, number)
            if count and (not path.is_file() or path.stat().st_size < count * self.dim * 4):
                raise DamagedStore(
                    f"{path} is shorter than its rows say: remove the folder {self.folder} and index again."
                )
            mapped: Vectors = np.zeros((0, self.dim), np.float32)
            if count:
                shape = (count, self.dim)
                mapped = _MAPPED.opened(path, shape, lambda: np.memmap(path, "<f4", "r", shape=shape))
            mapping = self._maps[modality] = (number, mapped)
        return mapping[1]

    def blocks(self, modality: Modality) -> Iterator[Vectors]:
        """Yield (n, D) unit vectors of all entries that have one of the modality."""
        stored, column = self.vectors(modality), 1 + MODALITIES.index(modality)
        for part in self.places(modality, size=self.chunk):
            yield np.asarray(stored[part[:, column]])

    def path(self, modality: Modality) -> Path:
        """Return the current file of vectors."""
        return self._path(modality, self._file(modality)[0])

    def _path(self, modality: Modality, number: int) -> Path:
        return self.folder / f"{modality}-{number}.f32"

    def _file(self, modality: Modality) -> tuple[int, int]:
        number, slots = self._database.execute(
            "SELECT number, slots FROM files WHERE modality = ?", (modality,)
        ).fetchone()
        return int(number), int(slots)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self._read_only:
            raise UsageError(f"Cannot write the index {self.folder}: its folder is read-only; name a writable one.")
        try:
            self._database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise UsageError(
                f"Cannot write the index {self.folder} ({error}): wait for the other writer, or check the folder."
            ) from None
        with _disk_full_named(self.folder):
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # SQLite itself rolls back where the disk is full
                    self._database.execute("ROLLBACK")
                raise


def _refuse_other_files(folder: Path) -> None:
    files = list(folder.iterdir()) if folder.is_dir() else []  # of a process that was killed before index.json
    others = folder.is_file() or any(p.name not in (*_DATABASE, _LOCK) and p.suffix != ".tmp" for p in files)
    if others and not (folder / "index.json").exists():  # which another process may have made meanwhile
        raise UsageError(f"{folder} holds other files: give a new folder for the index.")


@contextmanager
def _disk_full_named(folder: Path) -> Iterator[None]:
    """Raise an OSError that names the folder where the disk is full, whoever noticed it."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        code = error.errno if isinstance(error, OSError) else error.sqlite_errorcode & 0xFF
        full = (errno.ENOSPC, errno.EDQUOT) if isinstance(error, OSError) else (sqlite3.SQLITE_FULL,)
        if code not in full:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from None


def _here(folder: Path) -> Path:
    if address_of(folder) is not None:
        raise UsageError(
            f"{address_of(folder)} is an address that holds no index: an index is a folder of this machine, or lies at "
            f"lance:FOLDER, s3://BUCKET/NAME, gs://BUCKET/NAME or qdrant://HOST:PORT/NAME."
        )
    return folder
