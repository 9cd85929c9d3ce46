"""What a vector database must do so that a search index lives in it; ``database_index`` is the index on top.

A row has a number of 59 bits that follows from its name. So workers that write side by side write the same row for the
same entry, and a second machine finds everything by the address alone: facts and marks are notes in the database too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from diptych.search_index.described import Vectors
from diptych.search_index.rows import Entry, Modality
from diptych.search_index.where import Condition


@dataclass(frozen=True, eq=False)
class Row:
    """An entry as a database holds it.

    Args:
        number: see ``number_of``.
        entry: its name, caption and facts.
        has: modalities of its vectors.
        vectors: modality -> (D,) unit vector; {} where none were asked for.
    """

    number: int
    entry: Entry
    has: frozenset[Modality]
    vectors: Mapping[Modality, Vectors] = field(default_factory=dict)


class Database(Protocol):
    """A table of rows and a table of notes. Every method sees what was written before it, by whomever."""

    address: str

    def create(self, dim: int) -> None:
        """Make the tables for vectors of width D where they are absent."""

    def put(self, rows: Sequence[Row]) -> None:
        """Add rows, or replace those with the same numbers; all are on the disk afterwards."""

    def drop(self, numbers: Sequence[int]) -> None:
        """Delete rows by their numbers."""

    def rows(
        self,
        where: Sequence[Condition] = (),
        *,
        numbers: Sequence[int] | None = None,
        modality: Modality | None = None,
        vectors: Sequence[Modality] = (),
        size: int = 4096,
    ) -> Iterator[list[Row]]:
        """Yield rows in parts.

        Args:
            where: conditions that they meet.
            numbers: of these rows; None: of any.
            modality: they have a vector of it; None: any row.
            vectors: modalities whose vectors are read too.
            size: most rows of a part.

        Raises:
            UsageError: the database has no such condition.
        """

    def count(self, where: Sequence[Condition] = (), modality: Modality | None = None) -> int:
        """Return the number of rows that meet conditions and have a vector of a modality."""

    def nearest(
        self,
        modality: Modality,
        query: Vectors,
        k: int,
        where: Sequence[Condition],
        vectors: Sequence[Modality] = (),
        effort: int | None = None,
    ) -> list[tuple[float, Row]]:
        """Return the k rows with the largest inner products with a (D,) unit query, and these, the largest first.

        With an effort, of the structure that ``approximate`` built, others may be returned; products are exact.
        """

    def approximate(self, modality: Modality) -> str:
        """Build the structure for approximate searches of a modality, and return its kind."""

    def notes(self, kind: str) -> dict[str, str]:
        """Return key -> text of the notes of a kind; {} also where there is no index."""

    def write_note(self, kind: str, key: str, text: str, *, first: bool = False) -> None:
        """Add a note, or replace it; ``first``: leave one that is there."""

    def drop_notes(self, kind: str, keys: Sequence[str]) -> None:
        """Delete notes."""

    def tidy(self) -> None:
        """Do what makes the next searches faster; another worker may do the same."""


def number_of(name: str) -> int:
    """Return the number of an entry, 59 bits of a hash of its name.

    Example:
        >>> number_of("photos/cat.jpg") == number_of("photos/cat.jpg"), number_of("photos/cat.jpg") < 2**59
        (True, True)
    """
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 5
