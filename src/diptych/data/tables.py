"""Tables of pictures: CSV, TSV or Parquet with a path, and maybe a label, captions and a split, in each row."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diptych.core.data import Column, Table
from diptych.core.errors import DataError, UsageError
from diptych.data.folders import ImageFiles, has_class_folders
from diptych.data.format import Ask, Format
from diptych.data.keys import FileKeys
from diptych.data.labelled import SPLIT_NAMES, SPLITS, LabelledData, label_column
from diptych.data.rows import (
    CAPTION_COLUMNS,
    LABEL_COLUMNS,
    NAME_COLUMNS,
    PATH_COLUMNS,
    SUFFIXES,
    columns_of,
    header,
    in_order,
    inside,
    read_columns,
    text_of,
    texts_of,
)

LISTINGS = ("labels.csv", "captions.csv")
"""Tables by which a folder lists its pictures; the first that is there counts."""


def read_table(
    path: str | os.PathLike[str], keys: FileKeys | None = None, *, allow_outside: bool = False
) -> LabelledData:
    """Read a table with one picture a row.

    Columns, by the names in ``data.rows``: ``PATH_COLUMNS``; optionally ``LABEL_COLUMNS``; optionally
    ``CAPTION_COLUMNS`` (texts, or lists of texts in Parquet, maybe empty); optionally split, with the names of
    ``class_folder``. Without a split column all rows form the split "test". Relative paths start at the table's folder.
    Labels that are whole numbers take the names of a column of ``NAME_COLUMNS`` that has one name a number; a name that
    several numbers share keeps its number.

    Args:
        path: file that ends in .csv, .tsv (both UTF-8) or .parquet.
        keys: remembers content keys.
        allow_outside: accept paths that lead out of the table's folder (default False: a table from elsewhere must not
            read your disk).

    Returns:
        Data whose classes are the label values: sorted as numbers where all are whole numbers, else as text. Splits
        have the columns "label" and "captions" that the table allows.

    Raises:
        UsageError: no such file, or not a table.
        DataError: a needed column, path or label is missing, a split has an unknown name, or a path leads outside.
    """
    table = Path(path)
    if table.is_file() and table.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{table} is no table: give a file that ends in .csv, .tsv or .parquet.")
    held = header(table)
    at = next((c for c in PATH_COLUMNS if c in held), None)
    named = next((c for c in LABEL_COLUMNS if c in held), None)
    said = columns_of(held, CAPTION_COLUMNS)
    columns = read_columns(table, {at, named, *NAME_COLUMNS, *said, "split"}.__contains__)
    if at is None:
        raise DataError(f"{table} has no column {' or '.join(PATH_COLUMNS)}: name the column with the pictures so.")
    places = [text_of(v) for v in columns[at]]
    labels = [text_of(v) for v in columns[named]] if named else [""] * len(places)
    if not places:
        raise DataError(f"{table} has no rows: give one picture a row.")
    rows: dict[str, list[int]] = {}
    for number, (place, label) in enumerate(zip(places, labels, strict=True)):
        if not place or (named and not label):
            raise DataError(f"Row {number + 1} of {table} has no {named if place else at}: fill it, or remove the row.")
        split = text_of(columns["split"][number]) if "split" in columns else "test"
        if split.lower() not in SPLIT_NAMES:
            raise DataError(f"Row {number + 1} of {table} has the split {split!r}: use train, val or test.")
        rows.setdefault(SPLIT_NAMES[split.lower()], []).append(number)
    values = in_order(set(labels)) if named else ()
    splits = {}
    for split in (s for s in SPLITS if s in rows):
        own = {"label": label_column([labels[i] for i in rows[split]], values)} if named else {}
        if said:
            texts = tuple(tuple(t for c in said for t in texts_of(columns[c][i])) for i in rows[split])
            own["captions"] = Column("captions", texts)
        files = [_resolved(places[i], table, i, allow_outside) for i in rows[split]]
        splits[split] = Table(ImageFiles(files, keys), own)
    return LabelledData(table.stem, _named(values, labels, columns), splits)


def listing(folder: Path) -> Path | None:
    """Return the table by which a folder lists its pictures: one of ``LISTINGS``, or the only table in it that has a
    column of paths and one of classes.
    """
    if (named := next((folder / n for n in LISTINGS if (folder / n).is_file()), None)) is not None:
        return named
    tables = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    held = [p for p in tables if p.is_file() and all(columns_of(header(p), c) for c in (PATH_COLUMNS, LABEL_COLUMNS))]
    return held[0] if len(held) == 1 else None


def _named(values: Sequence[str], labels: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
    """Return the classes by name where their labels are numbers and a column names them."""
    if not values or not all(v.isdecimal() for v in values):
        return tuple(values)
    for column in (c for c in NAME_COLUMNS if c in columns):
        pairs = {(label, text_of(name)) for label, name in zip(labels, columns[column], strict=True)}
        names = dict(pairs)
        if len(pairs) == len(values) and all(names.values()):
            count = Counter(names.values())
            return tuple(names[v] if count[names[v]] == 1 else f"{names[v]} ({v})" for v in values)
    return tuple(values)


def _resolved(place: str, table: Path, number: int, allow_outside: bool) -> str:
    if allow_outside:
        return os.path.normpath(os.path.join(os.path.abspath(table.parent), place))
    return inside(table.parent, place, f"Row {number + 1} of {table}")


def _is_table(path: Path, ask: Ask) -> bool:
    return path.is_file() and path.suffix.lower() in SUFFIXES


def _is_listed(path: Path, ask: Ask) -> bool:
    return path.is_dir() and listing(path) is not None and not has_class_folders(path)


def _read_listed(path: Path, ask: Ask) -> LabelledData:
    table = listing(path)
    assert table is not None
    return replace(read_table(table, ask.keys), name=path.resolve().name)


TABLE = Format("a table (.csv, .tsv, .parquet)", _is_table, lambda path, ask: read_table(path, ask.keys))
LISTED = Format("", _is_listed, _read_listed)
"""A folder whose pictures a table in it lists, and that has no class folders."""
