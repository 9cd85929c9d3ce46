"""A search index in a vector database, with what the tasks ask of an index in a folder.

Its slots are the numbers of its rows, and its vectors are fetched by them. Searches are exact until ``approximate`` has
built the database's own structure and measured its recall.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, Run, UsageError
from diptych.data.files import plain
from diptych.search_index import recall
from diptych.search_index.database import Database, Row, number_of
from diptych.search_index.described import Described, Vectors
from diptych.search_index.recall import DRAWN, LEAST, TOP, Approximate, Queries, measured, nearest_of
from diptych.search_index.rows import MODALITIES, Entry, Hit, Modality, bound, dumped
from diptych.search_index.where import Condition, shell_pattern

FACTS, COLUMNS, APPROXIMATE = "facts", "columns", "approximate"
"""Kinds of notes: what the index was made with, the names of its metadata, and what is known of approximate search."""
EFFORTS = tuple(2**n for n in range(13))


class DatabaseIndex(Described):
    """An open index in a database; for any thread.

    Args:
        database: where it lies.

    Raises:
        UsageError: there is no index.
        DataError: the database does not answer.
    """

    folder: str

    def __init__(self, database: Database) -> None:
        self.database, self.folder = database, database.address
        facts = database.notes(FACTS).get(FACTS)
        if facts is None:
            raise UsageError(
                f"There is no index at {self.folder}: make one with 'diptych index PHOTOS --out "
                f"{shlex.quote(str(self.folder))}'."
            )
        self.describe(json.loads(facts))

    @classmethod
    def create(cls, database: Database, facts: Mapping[str, Any]) -> DatabaseIndex:
        """Create an empty index, or open one; see ``Index.create``."""
        if not database.notes(FACTS):
            database.create(int(facts["dim"]))
            database.write_note(FACTS, FACTS, json.dumps(plain(facts)), first=True)
        index = cls(database)
        index.expect(str(facts["fingerprint"]), str(facts.get("backbone", "")))
        return index

    def close(self) -> None:
        """Do nothing: the client stays open for the next search."""

    def __len__(self) -> int:
        return self.database.count()

    def add(self, entries: Sequence[Entry], vectors: Mapping[Modality, tuple[NDArray[np.int64], Vectors]]) -> None:
        """Add or replace entries, see ``Index.add``; a killed process leaves whole entries."""
        for entry in entries:
            if isinstance(bound(entry.name), bytes):
                raise DataError(f"{self.folder} takes names in UTF-8, and {entry.name!r} is none: rename the file.")
        whole: list[dict[Modality, Vectors]] = [{} for _ in entries]
        for modality, (positions, values) in self.unit(vectors).items():
            for position, value in zip(positions.tolist(), values, strict=True):
                whole[position][modality] = value
        rows = [
            Row(number_of(e.name), e, frozenset(vectors), vectors) for e, vectors in zip(entries, whole, strict=True)
        ]
        new = {c for e in entries for c in e.facts} - self.database.notes(COLUMNS).keys()
        for column in sorted(new):
            self.database.write_note(COLUMNS, column, "")
        self.database.put(list({row.number: row for row in rows}.values()))

    def delete(self, names: Sequence[str]) -> int:
        """Delete entries by name, and return their number."""
        numbers = [row.number for row in self._named(names)]
        self.database.drop(numbers)
        return len(numbers)

    def wasted(self) -> float:
        """Return 1: the database itself knows what is worth writing anew."""
        return 1.0

    def compact(self) -> None:
        """Let the database do what makes the next searches faster."""
        self.database.tidy()

    def stamps(self, names: Sequence[str]) -> dict[str, tuple[str, str, str]]:
        """Return name -> (stamp, caption, facts as JSON) of the names that are in the index."""
        return {
            row.entry.name: (row.entry.stamp, row.entry.caption, dumped(row.entry.facts)) for row in self._named(names)
        }

    def names(self, pattern: str = "*") -> Iterator[str]:
        """Yield the names that a shell pattern matches (``*`` also crosses folders)."""
        matches = re.compile(shell_pattern(pattern)).fullmatch
        yield from sorted(row.entry.name for row in self._rows() if matches(row.entry.name))

    def keyed(self) -> Iterator[tuple[str, str]]:
        """Yield the name of every entry with the content key of its picture, "" without one."""
        for row in self._rows():
            yield row.entry.name, row.entry.key

    def count(self, where: Sequence[Condition] = ()) -> int:
        """Return how many entries meet all conditions."""
        return self.database.count(where)

    def columns(self) -> tuple[str, ...]:
        """Return the names of columns for conditions: "name", "caption", and every fact of an entry."""
        return ("name", "caption", *sorted(self.database.notes(COLUMNS)))

    def values(self, where: Sequence[Condition]) -> dict[str, dict[str, int]]:
        """Return fact -> value -> number of the entries that meet all conditions."""
        counted: dict[str, Counter[str]] = {}
        for row in self._rows(where):
            for column, value in row.entry.facts.items():
                counted.setdefault(column, Counter())[str(value)] += 1
        return {column: dict(values.most_common()) for column, values in counted.items()}

    def places(
        self, modality: Modality, where: Sequence[Condition] = (), *, size: int = 4096
    ) -> Iterator[NDArray[np.int64]]:
        """Yield (n, 3) rows of (id, image slot, text slot), see ``Rows.places``, in no order."""
        for part in self.database.rows(where, modality=modality, size=size):
            yield _places(part)

    def slots_where(
        self, modality: Modality, where: Sequence[Condition] = (), *, size: int = 4096
    ) -> Iterator[NDArray[np.int64]]:
        """Yield (n,) slots of the entries that meet all conditions, in no order."""
        yield from (part[:, 0] for part in self.places(modality, where, size=size))

    def located(self, modality: Modality, slots: Sequence[int], where: Sequence[Condition] = ()) -> NDArray[np.int64]:
        """Return (n, 3) rows as ``places`` of the present entries at the given slots that meet all conditions."""
        parts = list(self.database.rows(where, numbers=slots, modality=modality))
        return _places([row for part in parts for row in part])

    def numbers(self, names: Sequence[str]) -> dict[str, int]:
        """Return name -> id of the names that are in the index."""
        return {row.entry.name: row.number for row in self._named(names)}

    def slots(self, ids: Sequence[int]) -> NDArray[np.int64]:
        """Return the (n,) image slots of entries by id, -1 without a picture."""
        there = {row.number for row in self._rows(numbers=ids) if "image" in row.has}
        return np.asarray([i if i in there else -1 for i in map(int, ids)], dtype=np.int64)

    def entries(self, ids: Sequence[int]) -> dict[int, Entry]:
        """Return id -> entry."""
        return {row.number: row.entry for row in self._rows(numbers=ids)}

    def vectors(self, modality: Modality) -> Fetched:
        """Return the vectors of a modality, to be fetched by slot."""
        return Fetched(self, modality)

    def blocks(self, modality: Modality) -> Iterator[Vectors]:
        """Yield (n, D) unit vectors of all entries that have one of the modality."""
        yield from (vectors for _, vectors in self._numbered(modality))

    def approximate(self, modality: Modality, run: Run, *, queries: Vectors | None = None) -> Approximate:
        """Build approximate search of a modality, and choose its effort by measured recall, see ``ann.build``.

        Raises:
            DataError: too few vectors, or no effort finds 90 % of the nearest: searches stay exact.
        """
        numbers = np.concatenate([np.zeros(0, np.int64), *(part[:, 0] for part in self.places(modality))])
        if len(numbers) < 1000:
            raise DataError(
                f"{self.folder} holds {len(numbers)} {modality} vectors, and an approximate index pays from 1,000 on: "
                f"search exactly."
            )
        kind = self.database.approximate(modality)

        def search(values: Vectors, effort: int) -> NDArray[np.int64]:
            hits = [self.database.nearest(modality, value, TOP + 1, (), effort=effort) for value in values]
            return np.array([([row.number for _, row in rows] + [-1] * TOP)[: TOP + 1] for rows in hits])

        drawn = np.random.default_rng(run.integer("ann")).choice(numbers, 2 * DRAWN, replace=False)
        rows = self.vectors(modality)[drawn]
        words = rows[:0] if queries is None or len(queries) < 2 else queries
        exact = nearest_of(self._numbered(modality), np.concatenate([rows, words]), TOP + 1)
        sampled = {"rows": Queries.of(rows, exact[: len(rows)], drawn)}
        if len(words):
            sampled["texts"] = Queries.of(words, exact[len(rows) :])
        description = measured(len(numbers), kind, sampled, search, EFFORTS)
        if (least := min(description.stated.values())) < LEAST:
            raise DataError(
                f"Approximate search of {self.folder} finds {100 * least:.0f} % of the nearest {modality} vectors, and "
                f"{100 * LEAST:.0f} % are needed: searches stay exact."
            )
        self.database.write_note(APPROXIMATE, modality, json.dumps(asdict(description)))
        return description

    def about(self, modality: Modality) -> Approximate | None:
        """Return what is known of approximate searches of a modality; None where there are none."""
        note = self.database.notes(APPROXIMATE).get(modality)
        return None if note is None else Approximate(**json.loads(note))

    def efforts(
        self, modalities: Collection[Modality], where: Sequence[Condition] = (), exact: bool | None = None
    ) -> dict[Modality, Approximate]:
        """Return what is known of the approximate searches that answer a question; {} where it is answered exactly:
        under conditions, and by default up to ``recall.EXACT`` vectors.

        Raises:
            UsageError: ``exact`` is False, and a modality has no approximate search.
        """
        if where or exact:
            return {}
        known = {m: a for m in modalities if (a := self.about(m))}
        if len(known) < len(modalities):
            if exact is False:
                raise UsageError(
                    f"{self.folder} has no approximate index of {' and '.join(modalities)}: build one with 'diptych "
                    f"index --out {shlex.quote(str(self.folder))} --ann'."
                )
            return {}
        return known if exact is False or any(a.slots > recall.EXACT for a in known.values()) else {}

    def nearest(
        self,
        query: Vectors,
        k: int,
        weights: Mapping[Modality, float],
        where: Sequence[Condition] = (),
        exact: bool | None = None,
    ) -> list[Hit]:
        """Return the k nearest entries, see ``nearest.nearest``.

        Of pictures and captions together, the best of each are scored, until no other entry can be better: one that is
        in neither list scores at most the sum of their last scores (Fagin's threshold algorithm).
        """
        towards = {m: query if w > 0 else -query for m, w in weights.items()}
        efforts = {m: a.nprobe for m, a in self.efforts(weights, where, exact).items()}
        if len(weights) == 1:
            ((m, weight),) = weights.items()
            nearest = self.database.nearest(m, towards[m], k, where, effort=efforts.get(m))
            return [Hit(row.entry, abs(weight) * score) for score, row in nearest]
        depth = 4 * k
        while True:
            rows, bound, more = dict[int, Row](), 0.0, False
            for m, weight in weights.items():
                best = self.database.nearest(m, towards[m], depth, where, tuple(weights), efforts.get(m))
                rows |= {row.number: row for _, row in best}
                if len(best) == depth:
                    bound, more = bound + max(0.0, abs(weight) * best[-1][0]), True
            scored = sorted(
                (-sum(w * float(row.vectors[m] @ query) for m, w in weights.items() if m in row.vectors), number)
                for number, row in rows.items()
            )[:k]
            if not more or (len(scored) == k and -scored[-1][0] >= bound):
                return [Hit(rows[number].entry, -score) for score, number in scored]
            depth *= 4

    def _numbered(self, modality: Modality) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
        for part in self.database.rows(modality=modality, vectors=(modality,), size=min(self.chunk, 4096)):
            if part:
                yield np.array([row.number for row in part]), np.stack([row.vectors[modality] for row in part])

    def _rows(self, where: Sequence[Condition] = (), numbers: Sequence[int] | None = None) -> Iterator[Row]:
        some = None if numbers is None else [int(n) for n in numbers]
        for part in self.database.rows(where, numbers=some):
            yield from part

    def _named(self, names: Sequence[str]) -> Iterator[Row]:
        by_number = {number_of(name): name for name in names}
        yield from (row for row in self._rows(numbers=list(by_number)) if row.entry.name == by_number[row.number])


class Fetched:
    """The vectors of a modality, as an array that is read where it is indexed by slots."""

    def __init__(self, index: DatabaseIndex, modality: Modality) -> None:
        self._index, self._modality = index, modality

    def __len__(self) -> int:
        return self._index.database.count((), self._modality)

    def __getitem__(self, slots: int | NDArray[np.int64]) -> Vectors:
        numbers = np.atleast_1d(np.asarray(slots, dtype=np.int64))
        m, by_number = self._modality, dict[int, Vectors]()
        for part in self._index.database.rows(numbers=numbers.tolist(), modality=m, vectors=(m,)):
            by_number |= {row.number: row.vectors[m] for row in part}
        if lost := [n for n in numbers.tolist() if n not in by_number]:
            raise DataError(f"{self._index.folder} has lost entry {lost[0]} meanwhile: search again.")
        values = (
            np.stack([by_number[n] for n in numbers.tolist()]) if len(numbers) else np.zeros((0, self._index.dim), "f4")
        )
        return values if np.ndim(slots) else values[0]


def _places(rows: Sequence[Row]) -> NDArray[np.int64]:
    cells = [(row.number, *(row.number if m in row.has else -1 for m in MODALITIES)) for row in rows]
    return np.asarray(cells, dtype=np.int64).reshape(-1, 3)
