"""Photos with label maps: a table of pictures and mask files, and a table of the classes of mask values."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diptych.core import Column, DataError
from diptych.data.format import Format, Request
from diptych.data.formats.regions import Masks
from diptych.data.formats.typed import Typed, read_typed
from diptych.data.images import open_mask
from diptych.data.labelled import LabelledData
from diptych.data.rows import header, read_columns, text_of
from diptych.data.tables import LISTINGS

IGNORE = 255
"""Value of ignored pixels in the returned masks."""


def read_semantic(folder: str | Path, void: Collection[int] = (), listing: str = "labels.csv") -> LabelledData:
    """Read ``labels.csv`` (path, mask, optionally split) and ``classes.csv`` (value, name) of a folder. Values in
    ``void`` are ignored, as are those that the column "void" of classes.csv marks with 1, true or yes.

    ``classes.csv`` may also have the columns "void" and "thing", marked by 1, true or yes, and "synonyms", with "|"
    between them: they become ``things`` and ``words`` of the data.

    Returns:
        Data whose classes are the names of the other values, in their order. Its column "mask" has (H, W) uint8 class
        positions, 255 for ignored pixels.

    Raises:
        UsageError: a table is missing.
        DataError: a column is missing, a value is no number or occurs twice, or there are no classes or more than 255.
    """
    root = Path(folder)
    data = read_typed(root / listing, {"mask": Typed("mask", "mask")})
    named = read_columns(root / "classes.csv")
    try:
        names = {int(value): name for value, name in zip(named["value"], named["name"], strict=True)}
    except (KeyError, ValueError):
        raise DataError(f"{root / 'classes.csv'} needs the columns value (a whole number) and name: mend it.") from None
    marked = _marks(named.get("void", [""] * len(names)))
    numbers = tuple(
        sorted(set(names) - set(void) - {int(v) for v, m in zip(named["value"], marked, strict=False) if m})
    )
    if len(names) < len(named["value"]) or not 0 < len(numbers) <= IGNORE:
        raise DataError(
            f"{root / 'classes.csv'} must give 1 to {IGNORE} classes, each value once, and gives {len(numbers)}: mend "
            f"it."
        )
    splits = {}
    for split, table in data.splits.items():
        files = table.columns["mask"].values
        assert isinstance(files, Masks)
        masks = Column("mask", Masks(files.sources, partial(_positions, numbers=numbers)))
        splits[split] = replace(table, columns={"mask": masks})
    row = {int(value): i for i, value in enumerate(named["value"])}
    things = _marks(named["thing"]) if "thing" in named else []
    further = [text_of(v).split("|") for v in named["synonyms"]] if "synonyms" in named else []
    words = tuple((names[n], *(w.strip() for w in further[row[n]] if w.strip())) for n in numbers) if further else ()
    return LabelledData(
        root.name,
        tuple(names[n] for n in numbers),
        splits,
        tuple(things[row[n]] for n in numbers) if things else (),
        words,
    )


def _marks(values: Sequence[object]) -> list[bool]:
    return [text_of(v).lower() in ("1", "true", "yes") for v in values]


def _positions(path: str, numbers: tuple[int, ...]) -> NDArray[np.uint8]:
    values, class_values = open_mask(path), np.asarray(numbers)
    position = np.searchsorted(class_values, values).clip(max=len(class_values) - 1)
    return np.where(class_values[position] == values, position, IGNORE).astype(np.uint8)


def _listing(path: Path) -> str | None:
    """Return the table of a folder with label maps: one of ``LISTINGS`` with columns path and mask."""
    if not (path / "classes.csv").is_file():
        return None
    return next((t for t in LISTINGS if {"path", "mask"} <= set(header(path / t))), None)


def _read(path: Path, request: Request) -> LabelledData:
    return read_semantic(path, request.void, _listing(path) or LISTINGS[0])


MASKS = Format(
    "a folder with label maps: labels.csv or captions.csv (path, mask) and classes.csv (value, name)",
    lambda path, request: _listing(path) is not None,
    _read,
    frozenset(("any", "photos", "check", "masks")),
)
