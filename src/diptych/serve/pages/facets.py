"""Values of metadata columns to which the answers of a search can be narrowed by a click."""

from __future__ import annotations

from dataclasses import dataclass

from diptych.search_index.opening import AnyIndex
from diptych.search_index.where import Condition
from diptych.serve.pages.state import State

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
