"""Tables of pictures: CSV, TSV or Parquet with a path, and maybe a label, captions and a split, in each row."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from diptych.core.data import Column, Table
from diptych.core.errors import DataError, UsageError
from diptych.data.folders import ImageFiles
from diptych.data.formats.huggingface import CAPTION_COLUMNS
from diptych.data.keys import FileKeys
from diptych.data.labelled import SPLIT_NAMES, SPLITS, LabelledData, label_column
from diptych.data.rows import SUFFIXES, in_order, inside, read_columns, text_of, texts_of

PATH_COLUMNS = ("path", "filepath", "image", "image_path")
LABEL_COLUMNS = ("class_name", "class", "label")


def read_table(
    path: str | os.PathLike[str], keys: FileKeys | None = None, *, allow_outside: bool = False
) -> LabelledData:
    """Read a table with one picture a row.

    Columns: path | filepath | image | image_path; optionally class_name | class | label (the first that is there);
        optionally
    captions | caption | text | sentences | sentence | prompt (likewise: a text, or a list of texts in Parquet, maybe
    empty); optionally split, with the names of ``class_folder``. Without a split column all rows form the split "test".
    Relative paths start at the table's folder.

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
    columns = _columns(table)
    at = next((c for c in PATH_COLUMNS if c in columns), None)
    if at is None:
        raise DataError(f"{table} has no column {' or '.join(PATH_COLUMNS)}: name the column with the pictures so.")
    named = next((c for c in LABEL_COLUMNS if c in columns), None)
    said = next((c for c in CAPTION_COLUMNS if c in columns), None)
    if not columns[at]:
        raise DataError(f"{table} has no rows: give one picture a row.")
    rows: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {}
    for number, place in enumerate(columns[at]):
        label = columns[named][number] if named else ""
        if not place or (named and not label):
            raise DataError(f"Row {number + 1} of {table} has no {named if place else at}: fill it, or remove the row.")
        split = columns["split"][number] if "split" in columns else "test"
        if split.lower() not in SPLIT_NAMES:
            raise DataError(f"Row {number + 1} of {table} has the split {split!r}: use train, val or test.")
        texts = columns[said][number] if said else ()
        rows.setdefault(SPLIT_NAMES[split.lower()], []).append(
            (_resolved(place, table, number, allow_outside), label, texts)
        )
    labels = {label for group in rows.values() for _, label, _ in group}
    classes = in_order(labels) if named else ()
    splits = {}
    for split in SPLITS:
        if split in rows:
            places, names, texts_of = zip(*rows[split], strict=True)
            own = {"label": label_column(names, classes)} if named else {}
            splits[split] = Table(
                ImageFiles(places, keys), own | ({"captions": Column("captions", texts_of)} if said else {})
            )
    return LabelledData(table.stem, classes, splits)


def _columns(table: Path) -> dict[str, list[Any]]:
    """Return the columns that matter: captions as tuples of texts, all others as text; an empty cell is () or ""."""
    wanted = (*PATH_COLUMNS, *LABEL_COLUMNS, *CAPTION_COLUMNS, "split")
    if table.is_file() and table.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{table} is no table: give a file that ends in .csv, .tsv or .parquet.")
    found = read_columns(table, wanted.__contains__)
    return {c: [texts_of(v) if c in CAPTION_COLUMNS else text_of(v) for v in cells] for c, cells in found.items()}


def _resolved(place: str, table: Path, number: int, allow_outside: bool) -> str:
    if allow_outside:
        return os.path.normpath(os.path.join(os.path.abspath(table.parent), place))
    return inside(table.parent, place, f"Row {number + 1} of {table}")
