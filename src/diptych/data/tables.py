"""Tables of pictures: CSV, TSV or Parquet with a path and optionally a label, captions and a split in each row."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diptych.core import Column, DataError, Table, UsageError
from diptych.core.wording import columns_there
from diptych.data.folders import ImageFiles, has_class_folders
from diptych.data.format import Format, Request
from diptych.data.inside import inside
from diptych.data.keys import FileKeys
from diptych.data.labelled import SPLIT_NAMES, SPLITS, LabelledData, label_column
from diptych.data.rows import (
    CAPTION_COLUMNS,
    LABEL_COLUMNS,
    NAME_COLUMNS,
    PATH_COLUMNS,
    SUFFIXES,
    SYNTHETIC_COLUMNS,
    columns_of,
    header,
    in_order,
    read_columns,
    text_of,
    texts_of,
)

LISTINGS = ("labels.csv", "captions.csv")
"""File names of tables that list the pictures of a folder; the first present one is read."""


def read_table(path: str | os.PathLike[str], keys: FileKeys | None = None) -> LabelledData:
    """Read a table with one picture per row.

    Columns have the names in ``data.rows``:

    - ``PATH_COLUMNS``: the picture. Relative paths start at the table's folder.
    - ``LABEL_COLUMNS`` (optional): the class. Whole numbers take the names in a column of ``NAME_COLUMNS`` with one
      name a number; a name of several numbers has the number as a suffix.
    - ``CAPTION_COLUMNS`` (optional): texts, or in Parquet lists of texts, which may be empty.
    - ``SYNTHETIC_COLUMNS`` (optional): texts that a model wrote, as captions.
    - "split" (optional): the names of ``class_folder``. Without it all rows are the split "test".

    Args:
        path: file that ends in .csv, .tsv (both UTF-8) or .parquet.
        keys: cache of content keys.

    Returns:
        Data whose classes are the label values, sorted as numbers where all are whole numbers, else as text. Splits
        have the columns "label", "captions" and "synthetic" where the table has them.

    Raises:
        UsageError: no such file, or not a table.
        DataError: a needed column, path or label is missing, a split has an unknown name, or a path leads outside.
    """
    table = Path(path)
    if table.is_file() and table.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{table} is no table: give a file that ends in .csv, .tsv or .parquet.")
    names = header(table)
    path_column = next((c for c in PATH_COLUMNS if c in names), None)
    label_column_name = next((c for c in LABEL_COLUMNS if c in names), None)
    text_columns = {
        name: chosen
        for name, patterns in (("captions", CAPTION_COLUMNS), ("synthetic", SYNTHETIC_COLUMNS))
        if (chosen := columns_of(names, patterns))
    }
    every = [c for chosen in text_columns.values() for c in chosen]
    columns = read_columns(table, {path_column, label_column_name, *NAME_COLUMNS, *every, "split"}.__contains__)
    if path_column is None:
        held = f"only {columns_there(names)}" if names else "it is empty"
        raise DataError(
            f"{table} has no column {' or '.join(PATH_COLUMNS)}, {held}: name the column with the pictures so, in the "
            f"first line."
        )
    paths = [text_of(v) for v in columns[path_column]]
    labels = [text_of(v) for v in columns[label_column_name]] if label_column_name else [""] * len(paths)
    if not paths:
        raise DataError(f"{table} has no rows: give one picture per row.")
    rows: dict[str, list[int]] = {}
    for number, (picture, label) in enumerate(zip(paths, labels, strict=True)):
        if not picture or (label_column_name and not label):
            raise DataError(
                f"Row {number + 1} of {table} has no {label_column_name if picture else path_column}: fill it, or "
                "remove the row."
            )
        split = text_of(columns["split"][number]) if "split" in columns else "test"
        if split.lower() not in SPLIT_NAMES:
            raise DataError(f"Row {number + 1} of {table} has the split {split!r}: use train, val or test.")
        rows.setdefault(SPLIT_NAMES[split.lower()], []).append(number)
    values = in_order(set(labels)) if label_column_name else ()
    splits = {}
    for split in (s for s in SPLITS if s in rows):
        split_columns = {"label": label_column([labels[i] for i in rows[split]], values)} if label_column_name else {}
        for name, chosen in text_columns.items():
            texts = tuple(tuple(t for c in chosen for t in texts_of(columns[c][i])) for i in rows[split])
            split_columns[name] = Column("captions", texts)
        files = [inside(table.parent, paths[i], f"Row {i + 1} of {table}") for i in rows[split]]
        splits[split] = Table(ImageFiles(files, keys), split_columns)
    return LabelledData(table.stem, _named(values, labels, columns), splits)


def listing(folder: Path) -> Path | None:
    """Return the table that lists the pictures of a folder; None without one.

    It is one of ``LISTINGS``, or the only table in the folder with a column of paths and one of classes.
    """
    if (named := next((folder / n for n in LISTINGS if (folder / n).is_file()), None)) is not None:
        return named
    tables = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    candidates = [
        p for p in tables if p.is_file() and all(columns_of(header(p), c) for c in (PATH_COLUMNS, LABEL_COLUMNS))
    ]
    return candidates[0] if len(candidates) == 1 else None


def _named(values: Sequence[str], labels: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
    """Return the names of classes whose labels are numbers from a column with names, else the labels."""
    if not values or not all(v.isdecimal() for v in values):
        return tuple(values)
    for column in (c for c in NAME_COLUMNS if c in columns):
        pairs = {(label, text_of(name)) for label, name in zip(labels, columns[column], strict=True)}
        names = dict(pairs)
        if len(pairs) == len(values) and all(names.values()):
            count = Counter(names.values())
            return tuple(names[v] if count[names[v]] == 1 else f"{names[v]} ({v})" for v in values)
    return tuple(values)


def _is_table(path: Path, request: Request) -> bool:
    return path.is_file() and path.suffix.lower() in SUFFIXES


def _is_listed(path: Path, request: Request) -> bool:
    return path.is_dir() and listing(path) is not None and not has_class_folders(path)


def _read_listed(path: Path, request: Request) -> LabelledData:
    table = listing(path)
    assert table is not None
    return replace(read_table(table, request.keys), name=path.resolve().name)


TABLE = Format("a table (.csv, .tsv, .parquet)", _is_table, lambda path, request: read_table(path, request.keys))
LISTED = Format("", _is_listed, _read_listed)
"""A folder whose pictures a table in it lists, and that has no class folders."""
