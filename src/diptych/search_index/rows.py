"""Entries of an index as rows of SQLite, with queries by name, by slot and by conditions on their facts."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from diptych.data.files import escaped
from diptych.search_index.where import Condition, clause, extracted

Modality = Literal["image", "text"]
MODALITIES: tuple[Modality, ...] = ("image", "text")
_DUMPED = json.JSONEncoder(ensure_ascii=False, sort_keys=True).encode
_PATIENCE = 60.0  # seconds that a writer waits for another one
SHORT = 64
"""Characters of a fact, on average, up to which it is indexed."""
TABLES = """
CREATE TABLE rows (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, stamp TEXT, key TEXT, caption TEXT,
                   facts TEXT NOT NULL, image INTEGER, text INTEGER);
CREATE UNIQUE INDEX by_image ON rows (image);
CREATE UNIQUE INDEX by_text ON rows (text);
CREATE TABLE files (modality TEXT PRIMARY KEY, number INTEGER NOT NULL, slots INTEGER NOT NULL);
INSERT INTO files VALUES ('image', 0, 0), ('text', 0, 0);
"""


@dataclass(frozen=True)
class Entry:
    """One item of an index.

    Args:
        name: unique name for users, such as the path of a photo or a row of a table.
        stamp: size and time of its file, which change with the item.
        key: content key of its picture, "" without one.
        caption: its text, "" without one.
        facts: metadata, name -> text or number, for filters and display.
    """

    name: str
    stamp: str = ""
    key: str = ""
    caption: str = ""
    facts: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True)
class Hit:
    """One result of a search.

    Args:
        score: weighted cosine, higher is nearer.
    """

    entry: Entry
    score: float

    @property
    def path(self) -> str:
        """The name of the entry, usually the path of its photo."""
        return self.entry.name

    @property
    def caption(self) -> str:
        """The caption of the entry, "" without one."""
        return self.entry.caption

    @property
    def metadata(self) -> Mapping[str, str | int | float]:
        """The metadata of the entry."""
        return self.entry.facts


_UNWRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL)  # the second: a read-only mount
_FULL = (sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_WRITE)  # no room for the memory that readers share


def _unwritable(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF in _UNWRITABLE or error.sqlite_errorcode in _FULL


class Rows:
    """The rows of an index."""

    def __init__(self, path: Path) -> None:
        self._read_only = False
        self._database = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
        try:
            self._database.execute("PRAGMA synchronous = FULL")  # a commit must survive a power failure
        except sqlite3.OperationalError as error:
            log = path.with_name(f"{path.name}-wal")
            if not _unwritable(error) or (log.exists() and log.stat().st_size):
                raise
            # In a folder that cannot be written, such as a read-only mount, or on a full disk, SQLite cannot keep its
            # log. Without one, all commits are in the database, which is then read as a file that nobody changes.
            self._read_only = True
            self._database.close()
            uri = f"file:{quote(str(path))}?immutable=1"
            self._database = sqlite3.connect(uri, uri=True, timeout=_PATIENCE, isolation_level=None)

    def __len__(self) -> int:
        return int(self._one("SELECT count(*) FROM rows"))

    def stamps(self, names: Sequence[str]) -> dict[str, tuple[str, str, str]]:
        """Return name -> (stamp, caption, facts as JSON) of the names that are in the index."""
        result: dict[str, tuple[str, str, str]] = {}
        for part in _parts(names, 500):
            marks = ",".join("?" * len(part))
            query = f"SELECT name, stamp, caption, facts FROM rows WHERE name IN ({marks})"
            rows = self._database.execute(query, [bound(name) for name in part])
            result.update((_read(name), (stamp, caption, facts)) for name, stamp, caption, facts in rows)
        return result

    def names(self, pattern: str = "*") -> Iterator[str]:
        """Yield the names that a shell pattern matches (``*`` also crosses folders)."""
        query = "SELECT name FROM rows WHERE name GLOB ? ORDER BY name"
        yield from (_read(row[0]) for row in self._database.execute(query, (bound(pattern),)))

    def keyed(self) -> Iterator[tuple[str, str]]:
        """Yield the name of every entry with the content key of its picture, "" without one."""
        for name, key in self._database.execute("SELECT name, key FROM rows"):
            yield _read(name), key

    def spread(self, number: int) -> list[str]:
        """Return the names of at most ``number`` entries all over the index, and of one at least where there is one."""
        first, last = self._database.execute("SELECT min(id), max(id) FROM rows").fetchone()
        if first is None:
            return []
        step = -(-(last - first + 1) // number)
        return [entry.name for entry in self.entries(range(first, last + 1, step)).values()]

    def count(self, where: Sequence[Condition] = ()) -> int:
        """Return how many entries meet all conditions."""
        text, values = clause(where)
        return int(self._one(f"SELECT count(*) FROM rows WHERE 1{text}", values))

    def more_than(self, number: int, where: Sequence[Condition] = ()) -> bool:
        """Return whether more than ``number`` entries meet all conditions; no more of them are counted."""
        text, values = clause(where)
        return bool(self._one(f"SELECT EXISTS (SELECT 1 FROM rows WHERE 1{text} LIMIT 1 OFFSET ?)", (*values, number)))

    def columns(self) -> tuple[str, ...]:
        """Return the names of columns for conditions: "name", "caption", and every fact of an entry."""
        rows = self._database.execute("SELECT DISTINCT json_each.key FROM rows, json_each(rows.facts)")
        return ("name", "caption", *sorted(str(key) for (key,) in rows))

    def index_facts(self) -> None:
        """Index every short fact, so that a condition that few of many entries meet need not look at all of them. The
        slots stand beside it, so that the rows themselves need not be read.
        """
        lengths = self._database.execute(
            "SELECT json_each.key, avg(length(json_each.atom)) FROM rows, json_each(rows.facts) GROUP BY 1"
        ).fetchall()
        for column, length in lengths:
            words, values = extracted(str(column))
            if not values and (length or 0) <= SHORT:
                old, new = (
                    hashlib.sha256(indexed.encode()).hexdigest()[:16] for indexed in (words, f"{words}, image, text")
                )
                self._database.execute(f"DROP INDEX IF EXISTS fact_{old}")  # of earlier versions, without slots
                self._database.execute(f"CREATE INDEX IF NOT EXISTS fact_{new} ON rows ({words}, image, text)")
        self._database.execute("ANALYZE")

    def values(self, where: Sequence[Condition]) -> dict[str, dict[str, int]]:
        """Return fact -> value -> number of the entries that meet all conditions."""
        text, values = clause(where)
        query = (
            f"SELECT json_each.key, json_each.atom, count(*) AS n FROM rows, json_each(rows.facts) WHERE 1{text} "
            "GROUP BY 1, 2 ORDER BY 1, n DESC, 2"
        )
        counted: dict[str, dict[str, int]] = {}
        for column, value, count in self._database.execute(query, values):
            counted.setdefault(str(column), {})[str(value)] = int(count)
        return counted

    def places(
        self, modality: Modality, where: Sequence[Condition] = (), *, first: int = 0, size: int = 4096
    ) -> Iterator[NDArray[np.int64]]:
        """Yield (n, 3) rows of (id, image slot, text slot) of the entries that meet all conditions, by slot.

        Args:
            modality: modality of the slots for the order; entries without one are left out. A missing slot is -1.
            where: conditions.
            first: lowest slot.
            size: largest number of rows at once.
        """
        text, values = clause(where)
        query = (
            f"SELECT id, ifnull(image, -1), ifnull(text, -1) FROM rows WHERE {modality} >= ?{text} ORDER BY {modality}"
        )
        rows = self._database.execute(query, (first, *values))
        while part := rows.fetchmany(size):
            yield np.asarray(part, dtype=np.int64)

    def slots_where(
        self, modality: Modality, where: Sequence[Condition] = (), *, size: int = 4096
    ) -> Iterator[NDArray[np.int64]]:
        """Yield (n,) slots of the entries that meet all conditions, ascending. One statement a part: read them in a
        ``snapshot``.

        Args:
            modality: modality of the slots; entries without one are left out.
            where: conditions.
            size: largest number of slots at once.
        """
        text, values = clause(where)
        part = f"SELECT {modality} FROM rows WHERE {modality} >= ?{text} ORDER BY {modality} LIMIT ?"
        query, first = f"SELECT group_concat({modality}) FROM ({part})", 0  # one text: many rows take SQLite longer
        while joined := self._one(query, (first, *values, size)):
            slots = np.sort(np.fromstring(joined, dtype=np.int64, sep=","))
            yield slots
            if len(slots) < size:
                return
            first = int(slots[-1]) + 1

    def located(self, modality: Modality, slots: Sequence[int], where: Sequence[Condition] = ()) -> NDArray[np.int64]:
        """Return (n, 3) rows as ``places`` of the present entries at the given slots that meet all conditions."""
        text, values = clause(where)
        result: list[tuple[int, int, int]] = []
        for part in _parts(list(map(int, slots)), 500):
            marks = ",".join("?" * len(part))
            query = f"SELECT id, ifnull(image, -1), ifnull(text, -1) FROM rows WHERE {modality} IN ({marks}){text}"
            result += self._database.execute(query, (*part, *values)).fetchall()
        return np.asarray(result, dtype=np.int64).reshape(-1, 3)

    def numbers(self, names: Sequence[str]) -> dict[str, int]:
        """Return name -> id of the names that are in the index."""
        result: dict[str, int] = {}
        for part in _parts(names, 500):
            marks = ",".join("?" * len(part))
            rows = self._database.execute(
                f"SELECT name, id FROM rows WHERE name IN ({marks})", [bound(n) for n in part]
            )
            result |= {_read(name): number for name, number in rows}
        return result

    def slots(self, ids: Sequence[int]) -> NDArray[np.int64]:
        """Return the (n,) image slots of entries by id, -1 without a picture."""
        known: dict[int, int] = {}
        for part in _parts(list(map(int, ids)), 500):
            marks = ",".join("?" * len(part))
            known |= dict(self._database.execute(f"SELECT id, ifnull(image, -1) FROM rows WHERE id IN ({marks})", part))
        return np.asarray([known.get(int(i), -1) for i in ids], dtype=np.int64)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one state of the index within the block, whatever other processes write."""
        self._database.execute("BEGIN")
        try:
            yield
        finally:
            self._database.execute("COMMIT")

    def entries(self, ids: Sequence[int]) -> dict[int, Entry]:
        """Return id -> entry."""
        result: dict[int, Entry] = {}
        for part in _parts(list(map(int, ids)), 500):
            marks = ",".join("?" * len(part))
            for row in self._database.execute(
                f"SELECT id, name, stamp, key, caption, facts FROM rows WHERE id IN ({marks})", part
            ):
                result[row[0]] = Entry(_read(row[1]), row[2], row[3], row[4], json.loads(row[5]))
        return result

    def _one(self, query: str, values: Sequence[Any] = ()) -> Any:
        return self._database.execute(query, tuple(values)).fetchone()[0]


def dumped(facts: Mapping[str, str | int | float]) -> str:
    """Return facts as the rows hold them."""
    return escaped(_DUMPED(dict(facts)))


def bound(name: str) -> str | bytes:
    """Return a name as SQLite takes it: one that is no UTF-8 as its bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape")
    return name


def _read(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")


def _parts(values: Any, size: int) -> Iterator[Any]:
    yield from (values[i : i + size] for i in range(0, len(values), size))
