"""Photos with label maps: a table of pictures and mask files, and a table of the classes of mask values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from diptych.core import Column, DataError, Table
from diptych.core.void import NARROW, WIDE, Labels, as_map, void_of
from diptych.data.format import Format, Request
from diptych.data.formats.regions import Masks
from diptych.data.formats.typed import Typed, read_typed
from diptych.data.images import open_mask
from diptych.data.labelled import LabelledData
from diptych.data.rows import header, read_columns, text_of
from diptych.data.tables import LISTINGS

IGNORE = NARROW
"""Value of ignored pixels in the returned masks of up to 255 classes; masks of more have ``core.void.WIDE``."""


def read_semantic(folder: str | Path, void: Collection[int] = (), listing: str = "labels.csv") -> LabelledData:
    """Read ``labels.csv`` (path, mask, optionally split) and ``classes.csv`` (value, name) of a folder. Values in
    ``void`` are ignored, as are those that the column "void" of classes.csv marks with 1, true or yes.

    ``classes.csv`` may also have the columns "void" and "thing", marked by 1, true or yes, and "synonyms", with "|"
    between them: they become ``things`` and ``words`` of the data.

    Returns:
        Data whose classes are the names of the other values, in their order. Its column "mask" has (H, W) uint8 class
        positions, 255 for ignored pixels; of more than 255 classes (H, W) uint16 ones, 65,535 for ignored pixels.

    Raises:
        UsageError: a table is missing.
        DataError: a column is missing, a value is no number or occurs twice, or there are no classes or more than
            65,535.
    """
    root = Path(folder)
    data = read_typed(root / listing, {"mask": Typed("mask", "mask")})
    classes = read_classes(root / "classes.csv")
    classes = replace(classes, void=classes.void | set(void))
    numbers, splits = classes.numbers, {}
    for split, table in data.splits.items():
        files = table.columns["mask"].values
        assert isinstance(files, Masks)
        masks = Column("mask", Masks(files.sources, partial(positions, numbers=numbers)))
        splits[split] = replace(table, columns={"mask": masks})
    return classes.data(root.name, splits)


@dataclass(frozen=True)
class Numbered:
    """The classes that values of label maps mean.

    Args:
        path: of their table, for errors.
        names: value -> name.
        void: values that are ignored.
        things: value -> whether objects of the class are counted; {}: not stated.
        words: value -> words of the class, the name first; {}: the names alone.

    Raises:
        DataError: no class is left, or more are than a map holds.
    """

    path: Path
    names: Mapping[int, str]
    void: frozenset[int] | set[int] = frozenset()
    things: Mapping[int, bool] = field(default_factory=dict)
    words: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Values of the classes that count, in their order."""
        numbers = tuple(sorted(set(self.names) - self.void))
        if not 0 < len(numbers) <= WIDE:
            raise DataError(
                f"{self.path} must give 1 to {WIDE:,} classes, each value once, and gives {len(numbers)}: mend it."
            )
        return numbers

    def data(self, name: str, splits: Mapping[str, Table[Any]]) -> LabelledData:
        """Return data of these classes."""
        numbers = self.numbers
        things = tuple(self.things[n] for n in numbers) if self.things else ()
        words = tuple(self.words[n] for n in numbers) if self.words else ()
        return LabelledData(name, tuple(self.names[n] for n in numbers), splits, things, words)


def read_classes(path: Path) -> Numbered:
    """Read ``classes.csv``, see ``read_semantic``.

    Raises:
        UsageError: there is no such file.
        DataError: a column is missing, or a value is no number or occurs twice.
    """
    table = read_columns(path)
    try:
        values = [int(value) for value in table["value"]]
        names = dict(zip(values, table["name"], strict=True))
    except (KeyError, ValueError):
        raise DataError(f"{path} needs the columns value (a whole number) and name: mend it.") from None
    if len(names) < len(values):
        raise DataError(f"{path} must give each value once: mend it.")
    void = {v for v, mark in zip(values, _marks(table.get("void", ())), strict=False) if mark}
    things = dict(zip(values, _marks(table.get("thing", ())), strict=False))
    further = dict(zip(values, (text_of(v).split("|") for v in table.get("synonyms", ())), strict=False))
    words = {v: (names[v], *(w.strip() for w in further[v] if w.strip())) for v in further}
    return Numbered(path, names, void, things, words)


def _marks(values: Sequence[object]) -> list[bool]:
    return [text_of(v).lower() in ("1", "true", "yes") for v in values]


def positions(path: str, numbers: tuple[int, ...]) -> Labels:
    """Return the label map of a file: positions of its values in the sorted numbers, ``void_of`` them elsewhere."""
    values, class_values = open_mask(path), np.asarray(numbers)
    position = np.searchsorted(class_values, values).clip(max=len(class_values) - 1)
    return as_map(np.where(class_values[position] == values, position, void_of(len(numbers))), len(numbers))


def _listing(path: Path) -> str | None:
    """Return the table of a folder with label maps: one of ``LISTINGS`` with columns path and mask."""
    if not (path / "classes.csv").is_file():
        return None
    return next((t for t in LISTINGS if {"path", "mask"} <= set(header(path / t))), None)


def _read(path: Path, request: Request) -> LabelledData:
    return read_semantic(path, request.void, _listing(path) or LISTINGS[0])


MASKS = Format(
    "a folder with label maps (labels.csv: path, mask; classes.csv: value, name)",
    lambda path, request: _listing(path) is not None,
    _read,
    frozenset(("any", "photos", "check", "masks")),
)
