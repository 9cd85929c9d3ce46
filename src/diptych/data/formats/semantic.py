"""Photos with label maps: a table of pictures and mask files, and a table that says which number is which class."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diptych.core.data import Column
from diptych.core.errors import DataError
from diptych.data.format import Ask, Format
from diptych.data.formats.regions import Masks
from diptych.data.formats.typed import Typed, read_typed
from diptych.data.images import open_mask
from diptych.data.labelled import LabelledData
from diptych.data.rows import header, read_columns, text_of
from diptych.data.tables import LISTINGS

IGNORE = 255
"""The value of pixels that do not count, in the masks that come out."""


def read_semantic(folder: str | Path, void: Collection[int] = (), listing: str = "labels.csv") -> LabelledData:
    """Read ``labels.csv`` (path, mask, and maybe split) and ``classes.csv`` (value, name) of a folder.

    Args:
        folder: holds the two tables; pictures and masks lie below it.
        void: values of ``classes.csv`` that name no class, besides those that its column "void" marks with 1, true or
            yes: their pixels do not count.
        listing: file name of the first table.

    Returns:
        Data whose classes are the other names, in the order of their values, and whose column "mask" holds (H, W) uint8
        positions among them, 255 where a pixel does not count.

    Raises:
        UsageError: a table is missing.
        DataError: a column is missing, a value is no number or is doubled, or there are no classes, or more than 255.
    """
    root = Path(folder)
    data = read_typed(root / listing, {"mask": Typed("mask", "mask")})
    named = read_columns(root / "classes.csv")
    try:
        names = {int(value): name for value, name in zip(named["value"], named["name"], strict=True)}
    except (KeyError, ValueError):
        raise DataError(f"{root / 'classes.csv'} needs the columns value (a whole number) and name: mend it.") from None
    marked = [text_of(v).lower() in ("1", "true", "yes") for v in named.get("void", [""] * len(names))]
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
    return LabelledData(root.name, tuple(names[n] for n in numbers), splits)


def _positions(path: str, numbers: tuple[int, ...]) -> NDArray[np.uint8]:
    values, known = open_mask(path), np.asarray(numbers)
    place = np.searchsorted(known, values).clip(max=len(known) - 1)
    return np.where(known[place] == values, place, IGNORE).astype(np.uint8)


def _listing(path: Path) -> str | None:
    """Return the table of a folder with label maps: one of ``LISTINGS`` that names a mask a photo."""
    if not (path / "classes.csv").is_file():
        return None
    return next((t for t in LISTINGS if {"path", "mask"} <= set(header(path / t))), None)


def _read(path: Path, ask: Ask) -> LabelledData:
    return read_semantic(path, ask.void, _listing(path) or LISTINGS[0])


MASKS = Format(
    "a folder with label maps: labels.csv or captions.csv (path, mask) and classes.csv (value, name)",
    lambda path, ask: _listing(path) is not None,
    _read,
    frozenset(("any", "photos", "check", "masks")),
)
