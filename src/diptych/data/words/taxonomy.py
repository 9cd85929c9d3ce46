"""Labels with two levels, and votes of people on a few items of each cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from diptych.core import DataError
from diptych.data.rows import read_columns
from diptych.data.words.textfiles import read_json

COLUMNS = ("filepath", "labels")
"""Columns of a table of votes; "annotator" is optional, and a row is the vote of one person on one item."""


@dataclass(frozen=True)
class Taxonomy:
    """Labels and what they belong to.

    Args:
        parents: label -> the wider label that it implies; {}: all labels are allowed and imply none.
        wide: the wider labels.
    """

    parents: Mapping[str, str]
    wide: frozenset[str]

    def expand(self, label: str) -> tuple[str, ...]:
        """Return a label with the wider one that it implies, first.

        Raises:
            DataError: the taxonomy has no such label.
        """
        if not self.wide or label in self.wide:
            return (label,)
        if label not in self.parents:
            raise DataError(
                f"The taxonomy has no label {label!r}: add it, or use one of {', '.join(sorted(self.wide))}."
            )
        return self.parents[label], label


FREE = Taxonomy({}, frozenset())
"""No taxonomy: every label is allowed."""


def read_taxonomy(path: str) -> Taxonomy:
    """Read a JSON object: wide label -> a list of narrower ones; "" is ``FREE``.

    Raises:
        UsageError: there is no such file.
        DataError: it has another form, or a label stands below two others.
    """
    if not path:
        return FREE
    data = read_json(path, "a taxonomy")
    if not isinstance(data, dict) or not data or not all(isinstance(v, list) for v in data.values()):
        raise DataError(f'{path} is no taxonomy: write {{"Microscopy": ["light microscopy", ...], ...}}.')
    parents: dict[str, str] = {}
    for wide, narrow in data.items():
        for label in map(str, narrow):
            if label in data or parents.get(label, wide) != wide:
                raise DataError(f"{path} has {label!r} at two places: a label belongs to one wider label.")
            parents[label] = wide
    return Taxonomy(parents, frozenset(data))


def read_votes(path: str, taxonomy: Taxonomy) -> list[tuple[str, tuple[str, ...]]]:
    """Read votes: (name of an item, labels with what they imply), of every row of a table with the columns ``COLUMNS``
    whose labels, apart by ";", are not empty.

    Raises:
        UsageError: there is no such table.
        DataError: a column is missing, nothing is labelled, or a label is not in the taxonomy.
    """
    table = read_columns(path, lambda name: name in COLUMNS)
    if missing := [name for name in COLUMNS if name not in table]:
        raise DataError(f"{path} has no column {' and no column '.join(missing)}: write one row a vote.")
    votes = []
    for name, vote in zip(*(table[column] for column in COLUMNS), strict=True):
        labels = [label.strip() for label in str(vote or "").split(";") if label.strip()]
        if labels:
            votes.append((str(name), tuple(dict.fromkeys(n for label in labels for n in taxonomy.expand(label)))))
    if not votes:
        raise DataError(f"{path} labels nothing: fill the column labels of some rows.")
    return votes


def majority(votes: Iterable[tuple[int, Sequence[str]]], clusters: int) -> list[tuple[str, ...]]:
    """Return the labels of each cluster: those with more than half of its votes, most votes first.

    Args:
        votes: (cluster, labels) of each vote.
        clusters: number of clusters; one without votes, or without a majority, has no labels.

    Example:
        >>> majority([(0, ["plot"]), (0, ["plot", "map"]), (0, ["map"]), (1, ["map"]), (1, ["plot"])], 2)
        [('map', 'plot'), ()]
    """
    counts = [Counter[str]() for _ in range(clusters)]
    totals = [0] * clusters
    for cluster, labels in votes:
        counts[cluster].update(set(labels))
        totals[cluster] += 1
    return [
        tuple(sorted((n for n, c in votes_of.items() if 2 * c > total), key=lambda n: (-votes_of[n], n)))
        for votes_of, total in zip(counts, totals, strict=True)
    ]
