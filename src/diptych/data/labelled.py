"""Labelled data sets: named splits of images, with one order of classes for all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from diptych.core import Column, DataError, Table, UsageError
from diptych.core.wording import Guided
from diptych.data.headings import heading_of
from diptych.data.joined import Joined

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip
"""Usual names of the three splits, in lower case -> split."""


@dataclass(frozen=True)
class NamedTable(Table[Any], Guided):
    """A table that knows the names of its classes: one split of a data set.

    Args:
        items, columns: see ``core.data.Table``.
        classes: K class names that the labels count; () where nothing is labelled.
        words: K tuples of the words of each class, see ``core.data.ClassNames``. (): the names.
    """

    classes: tuple[str, ...] = ()
    words: tuple[tuple[str, ...], ...] = ()

    def __repr__(self) -> str:
        columns = f", columns {', '.join(self.columns)}" if self.columns else ""
        return f"NamedTable({len(self):,} items, {len(self.classes)} classes{columns})"

    def __getitem__(self, row: object) -> NoReturn:
        raise TypeError(
            f"A table is not indexed by {row!r}: items[i] is a picture, labels()[i] the position of its class in "
            "classes, and take([0, 1, 2]) a part."
        )

    def take(self, indices: Sequence[int]) -> NamedTable:
        """Return the table of the chosen rows, in the given order."""
        part = super().take(indices)
        return NamedTable(part.items, part.columns, self.classes, self.words)


@dataclass(frozen=True)
class LabelledData(Guided):
    """A data set: splits of images and the names of their classes.

    It also reads like a mapping: ``data["test"]`` is a split that knows its class names, ``list(data)`` the names of
    the splits, ``len(data)`` their number.

    Args:
        classes: K class names as in the source (folder names, table values), sorted; () without labels.
        splits: "train", "val", "test" where present -> table; labelled ones have a "label" column of positions in
            ``classes``.
        things: K marks: True for classes whose objects are counted. (): not stated.
        words: K tuples of the words of each class, see ``core.data.ClassNames``. (): the names.
        source: file or folder of unlabelled items, whose columns an error may name.

    Example:
        >>> import diptych
        >>> data = diptych.open_data("demo:clothes")
        >>> data
        LabelledData('demo:clothes', 10 classes, train: 500 items, test: 138 items)
        >>> list(data), len(data["test"]), data["test"].classes[:2]
        (['train', 'test'], 138, ('dress', 'hat'))
    """

    name: str
    classes: tuple[str, ...]
    splits: Mapping[str, Table[Any]]
    things: tuple[bool, ...] = ()
    words: tuple[tuple[str, ...], ...] = ()
    source: Path | None = None

    @property
    def heading(self) -> str:
        """The end of a sentence that names the columns of ``source``, see ``data.headings``; "" where none is known."""
        return heading_of(self.source) if self.source is not None else ""

    def __getitem__(self, name: str) -> NamedTable:
        if not isinstance(name, str):
            raise UsageError(
                f"{self.name} has splits, {', '.join(self.splits)}, not items: give data['{next(iter(self))}']."
            )
        table = self.split(name)
        return NamedTable(table.items, table.columns, self.classes, self.words)

    def __iter__(self) -> Iterator[str]:
        return iter(self.splits)

    def __len__(self) -> int:
        return len(self.splits)

    def keys(self) -> list[str]:
        """Return the names of the splits."""
        return list(self)

    def items(self) -> list[tuple[str, NamedTable]]:
        """Return the splits with their names."""
        return [(name, self[name]) for name in self]

    def __repr__(self) -> str:
        classes = [f"{len(self.classes)} classes"] if self.classes else []
        return f"LabelledData({', '.join([repr(self.name), *classes, *_sizes(self.splits)])})"

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the sorted (split, class, content key) of all items.

        It does not depend on the paths and names of files.

        Raises:
            UnreadableItem: a file is missing or cannot be read.
        """
        rows: list[str] = []
        for split, table in self.splits.items():
            labels = table.labels() if "label" in table.columns else None
            names = [""] * len(table) if labels is None else [self.classes[label] for label in labels]
            rows += [f"{split}\t{name}\t{table.items.key(i)}\n" for i, name in enumerate(names)]
        return hashlib.sha256("".join(sorted(rows)).encode("utf-8", "surrogateescape")).hexdigest()

    def split(self, name: str) -> Table[Any]:
        """Return a split.

        Raises:
            DataError: there is no such split.
        """
        if name not in self.splits:
            present = ", ".join(self.splits)
            raise DataError(
                f"{self.name} has no {name} split, only {present}: add a folder (or a value in the table's split "
                f"column) named {name!r}."
            )
        return self.splits[name]

    def whole(self) -> Table[Any]:
        """Return the items of all splits as one table, with the columns that all of them have, except masks."""
        tables = tuple(self.splits.values())
        shared = [
            n
            for n, c in tables[0].columns.items()
            if c.kind not in ("mask", "panoptic") and all(n in t.columns for t in tables)
        ]
        columns = {}
        for name in shared:
            parts = [t.columns[name].values for t in tables]
            arrays = all(isinstance(p, np.ndarray) for p in parts)
            values = np.concatenate(parts) if arrays else tuple(v for p in parts for v in p)
            columns[name] = Column(tables[0].columns[name].kind, values)
        return Table(Joined(tuple(t.items for t in tables)), columns)


def _sizes(splits: Mapping[str, Table[Any]]) -> list[str]:
    return [f"{name}: {len(table):,} items" for name, table in splits.items()]


def label_column(names: Sequence[str], classes: Sequence[str]) -> Column:
    """Return the "label" column of N class names: (N,) int64 positions in ``classes``."""
    position = {c: i for i, c in enumerate(classes)}
    return Column("label", np.array([position[n] for n in names], dtype=np.int64))
