"""Rows of a CSV, TSV, JSON Lines or Parquet file, column by column, and paths that stay below the folder they start
from.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NoReturn

from diptych.core.errors import DataError, UsageError

SUFFIXES = frozenset((".csv", ".tsv", ".parquet"))
PATH_COLUMNS = ("path", "filepath", "image", "image_path", "file_name")
"""Columns with the path of a picture; here and below the first that is there counts."""
LABEL_COLUMNS = ("class_name", "class", "label")
"""Columns with a class."""
NAME_COLUMNS = ("name", "label_name", "category", "species")
"""Columns with the name of a class, where its label is a number."""
CAPTION_COLUMNS = ("caption*", "text", "sentence*", "prompt", "title")
"""Columns with what is said of a picture; a pattern stands for all columns that it names."""
TEXT_COLUMNS = (*CAPTION_COLUMNS, "description", "ocr_text", "name")
"""Columns with any text."""
_MAX_LINE = 16 * 2**20  # characters of one JSON line


def read_columns(
    path: str | os.PathLike[str], wanted: Callable[[str], bool] = lambda name: True
) -> dict[str, list[Any]]:
    """Return the columns of a table, in the order of the file.

    Args:
        path: file that ends in .csv, .tsv, .jsonl (all UTF-8) or .parquet.
        wanted: whether a column is read, by its name; default all.

    Returns:
        Name -> N cells. Cells of CSV and TSV are stripped text, and "" where a row is short; other cells are what the
        file holds, None where it holds nothing.

    Raises:
        UsageError: no such file, or not a table.
        DataError: the file is not of its kind.
    """
    table = Path(path)
    if not table.is_file():
        raise UsageError(f"There is no table {table}: check the spelling, or give an absolute path.")
    kind = table.suffix.lower()
    try:
        if kind == ".parquet":
            return _from_parquet(table, wanted)
        if kind in (".csv", ".tsv"):
            return _from_csv(table, "\t" if kind == ".tsv" else ",", wanted)
        if kind == ".jsonl":
            return _from_json_lines(table, wanted)
    except (
        csv.Error,
        UnicodeDecodeError,
        ValueError,
        OSError,
        RecursionError,
    ) as error:  # pyarrow's are ValueError and OSError
        refuse(table, error)
    raise UsageError(f"{table} is no table: give a file that ends in .csv, .tsv or .parquet.")


def header(table: Path) -> tuple[str, ...]:
    """Return the names of a table's columns; () where the file is not of its kind, or is no table."""
    kind = table.suffix.lower()
    try:
        if kind == ".parquet":
            import pyarrow.parquet as pq

            return tuple(pq.read_schema(table).names)
        if kind in (".csv", ".tsv"):
            with table.open(encoding="utf-8-sig", newline="") as lines:
                return tuple(c.strip() for c in next(csv.reader(lines, delimiter="\t" if kind == ".tsv" else ","), []))
        if kind == ".jsonl":
            return tuple(_from_json_lines(table, lambda name: True, rows=1))
    except (csv.Error, UnicodeDecodeError, ValueError, OSError, RecursionError):
        pass
    return ()


def columns_of(names: Iterable[str], wanted: Sequence[str], given: str = "") -> list[str]:
    """Return the columns that ``given`` names (a column, or a pattern such as "caption_*"); "": the first of
    ``wanted`` that names any; [] where there are none.
    """
    held = list(names)
    found = ([c for c in held if fnmatchcase(c, pattern)] for pattern in ([given] if given else wanted))
    return next((columns for columns in found if columns), [])


def chosen_column(table: Path, names: Iterable[str], wanted: Sequence[str], given: str, what: str) -> str:
    """Return the first column that ``columns_of`` finds.

    Args:
        table: stands in the error.
        names: of its columns.
        wanted: names by which the column is found.
        given: what the user calls it; "" finds it.
        what: it holds, such as "the pictures (--image)".

    Raises:
        UsageError: none is found.
        DataError: there is none of the name given.
    """
    held = list(names)
    if not (found := columns_of(held, wanted, given)) and given:
        raise DataError(f"{table} has no column {given!r}, only {', '.join(held)[:300]}: name one with {what}.")
    if not found:
        raise UsageError(f"{table} has the columns {', '.join(held)[:300]}: name the one with {what}.")
    return found[0]


def filled(table: Path, column: str, cells: Sequence[Any]) -> list[str]:
    """Return the cells of a column as text; raises DataError where one is empty."""
    values = [text_of(v) for v in cells]
    if "" in values:
        raise DataError(f"Row {values.index('') + 1} of {table} has no {column}: fill it, or remove the row.")
    return values


def refuse(table: Path, error: Exception) -> NoReturn:
    """Raise the DataError of a table that cannot be read."""
    raise DataError(
        f"{table} cannot be read as a table ({str(error)[:120]}): save it again as UTF-8 CSV, TSV or Parquet."
    ) from error


def inside(folder: str | os.PathLike[str], place: str, where: str) -> str:
    """Return the absolute path of a place that a file names, which must lie below a folder: a table from elsewhere must
    not read other files.

    Args:
        folder: where relative places start.
        place: path as written in the file; an absolute one may spell the folder by the links that lead to it.
        where: what named it, for the message: "Row 3 of labels.csv".

    Raises:
        DataError: the path leads out of the folder.
    """
    base = os.path.abspath(folder)
    path = os.path.normpath(os.path.join(base, place))
    below = os.path.join(base, "")
    if "\0" not in place and os.path.isabs(place) and not path.startswith(below):
        real = os.path.relpath(os.path.realpath(path), os.path.realpath(base))
        path = os.path.normpath(os.path.join(base, real))
    if "\0" in place or not path.startswith(below):
        raise DataError(
            f"{where} leads outside the table's folder ({place[:200]!r}): pictures must lie below {base}, so move them "
            f"there, or keep the table in a folder that holds them all."
        )
    return path


def all_inside(folder: str | os.PathLike[str], places: Sequence[str]) -> list[str]:
    """Return the absolute paths of the cells of a column; raises DataError where one leads out of the folder or is
    empty.
    """
    paths = []
    for number, place in enumerate(places, 1):
        if not place:
            raise DataError(f"Row {number} of the table in {folder} names no file: fill it, or remove the row.")
        paths.append(inside(folder, place, f"Row {number} of the table in {folder}"))
    return paths


def text_of(cell: Any) -> str:
    """Return a cell as text; "" where it holds nothing."""
    return "" if cell is None else str(cell)


def texts_of(cell: Any) -> tuple[str, ...]:
    """Return the texts of a cell, one or a list of them, stripped, without empty ones."""
    return tuple(t for v in (cell if isinstance(cell, list) else [cell]) if (t := text_of(v).strip()))


def in_order(labels: set[str]) -> tuple[str, ...]:
    """Return labels sorted as numbers where all are whole numbers, else as text."""
    if all(label.isdecimal() for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))


def _from_parquet(table: Path, wanted: Callable[[str], bool]) -> dict[str, list[Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(table) as file:
        data = file.read(columns=[c for c in file.schema_arrow.names if wanted(c)])
        return {c: data.column(c).to_pylist() for c in data.column_names}


def _from_csv(table: Path, mark: str, wanted: Callable[[str], bool]) -> dict[str, list[Any]]:
    with table.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, delimiter=mark, strict=True)
        cells: dict[str, list[Any]] = {c: [] for c in reader.fieldnames or () if wanted(c)}
        for row in reader:
            for c, column in cells.items():
                column.append((row[c] or "").strip())
        return cells


def _from_json_lines(table: Path, wanted: Callable[[str], bool], rows: int | None = None) -> dict[str, list[Any]]:
    cells: dict[str, list[Any]] = {}
    count = 0
    with table.open(encoding="utf-8-sig") as lines:
        while line := lines.readline(_MAX_LINE + 1):
            if len(line) > _MAX_LINE:
                raise ValueError(f"line {count + 1} has more than {_MAX_LINE:,} characters")
            if not line.strip():
                continue
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"line {count + 1} is no JSON object")
            for name in row:
                if name not in cells and wanted(name):
                    cells[name] = [None] * count
            for name, column in cells.items():
                column.append(row.get(name))
            count += 1
            if count == rows:
                break
    return cells
