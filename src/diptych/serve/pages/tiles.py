"""What the page shows of an index: answers to a search, or some of its photos where nothing is looked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from diptych.search_index.opening import AnyIndex
from diptych.search_index.rows import Entry
from diptych.search_index.where import Condition
from diptych.serve.pages.state import State
from diptych.tasks.search.ask import Answer


@dataclass(frozen=True)
class Tile:
    """One answer, or one photo of an index.

    Args:
        number: of the entry in its index.
        name: short name of the picture.
        path: whole name.
        text: for those who do not see the picture: its caption, or its name.
        caption: of the picture; "" without one.
        facts: its metadata in a line.
        score: weighted cosine; 0 where nothing was looked for.
        reasons: (part of the query, what it adds to the score).
        right: probability that the answer is right; None: not known here.
        marked: True, False, or None where nobody marked it for this query.
        version: of the entry, which is part of the address of its picture.
    """

    number: int
    name: str
    path: str
    text: str
    caption: str
    facts: str
    score: float = 0.0
    reasons: tuple[tuple[str, float], ...] = ()
    right: float | None = None
    marked: bool | None = None
    version: str = ""

    @classmethod
    def of(cls, number: int, entry: Entry) -> Tile:
        """Return what is known of an entry without a query."""
        name, caption = Path(entry.name.rpartition("!")[2]).name, entry.caption[:300]
        facts = " · ".join(f"{k} {v}" for k, v in entry.facts.items() if str(v) and k != "folder")[:200]
        return cls(number, name, entry.name, caption or name, caption, facts, version=version_of(entry))


def version_of(entry: Entry) -> str:
    """Return what changes where the number of an entry stands for another picture, since an index was made anew.

    Example:
        >>> version_of(Entry("a.jpg", key="1")) != version_of(Entry("b.jpg", key="1"))
        True
    """
    return sha256("\0".join((entry.name, entry.stamp, entry.key)).encode("utf-8", "surrogateescape")).hexdigest()[:12]


@dataclass(frozen=True)
class Slider:
    """Which shares of right answers can be asked for.

    Args:
        highest: largest one; 0: no share is known for such queries.
        reason: why none is known, or "".
    """

    highest: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Contents:
    """All that the page of one search shows.

    Args:
        tiles: answers, best first, without those that the page skips; photos of the index where nothing was asked.
        answer: the same as the command line prints it, with the skipped ones; None: nothing was asked.
        remark: why answers are not cut as they were to be, or that an index without a question is empty, or "".
        promise: what is known of the cut, in a sentence, or "".
        marks: (right, wrong) marks of this query.
        columns: names of metadata, for conditions.
        entries: of the index.
        facets: column -> its values, where they are few.
        more: whether further answers may follow.
        examples: words to begin with, where nothing was asked.
    """

    tiles: tuple[Tile, ...] = ()
    answer: Answer | None = None
    remark: str = ""
    promise: str = ""
    marks: tuple[int, int] = (0, 0)
    columns: tuple[str, ...] = ()
    entries: int = 0
    facets: Mapping[str, tuple[Facet, ...]] = field(default_factory=dict)
    more: bool = False
    slider: Slider = Slider()
    examples: tuple[str, ...] = ()

    def chosen(self, numbers: Collection[int]) -> Contents:
        """Return the answers with these numbers alone."""
        tiles = tuple(tile for tile in self.tiles if tile.number in numbers)
        names = {tile.path for tile in tiles}
        answer = self.answer and replace(
            self.answer, results=tuple(f for f in self.answer.results if f.entry.name in names), cut=None
        )
        return replace(self, tiles=tiles, answer=answer)


MOST_COUNTED = 50_000
"""Entries of an index whose values are counted for every page, which takes a fifth of a second for so many."""
MOST_VALUES = 12
"""Values of a column that are shown as choices."""


@dataclass(frozen=True)
class Facet:
    """A value of a metadata column that answers can be narrowed to.

    Args:
        value: of the column.
        entries: number of entries that have it, under the other conditions.
        where: conditions of the search that a click asks for: with this one, or without it where it is chosen.
    """

    value: str
    entries: int
    chosen: bool
    where: str


def facets(index: AnyIndex, state: State) -> dict[str, tuple[Facet, ...]]:
    """Return column -> values to narrow the answers to; {} for an index of more than ``MOST_COUNTED`` entries."""
    if len(index) > MOST_COUNTED:
        return {}
    texts = state.conditions()
    conditions = [Condition.parse(text) for text in texts]

    def facet(column: str, value: str, count: int) -> Facet:
        chosen = any((c.column, c.operator, c.text) == (column, "=", value) for c in conditions)
        others = [t for t, c in zip(texts, conditions, strict=True) if (c.column, c.operator) != (column, "=")]
        return Facet(value, count, chosen, "; ".join(others if chosen else [*others, f"{column}={value}"]))

    counted = index.facets(conditions, MOST_VALUES)
    return {
        column: tuple(facet(column, value, count) for value, count in values.items())
        for column, values in counted.items()
        if not any(";" in text or not text.strip() for text in (column, *values))  # not to be written as conditions
    }
