"""Columns of CSV, TSV, JSON Lines and Parquet files."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn, TextIO

from diptych.core import DataError, UsageError
from diptych.core.wording import columns_there

SUFFIXES = frozenset((".csv", ".tsv", ".parquet"))
PATH_COLUMNS = ("path", "filepath", "image", "image_path", "file_name")
"""Names of columns with the path of a picture; here and below the first present one is read."""
LABEL_COLUMNS = ("class_name", "class", "label")
"""Names of columns with a class."""
NAME_COLUMNS = ("name", "label_name", "category", "species")
"""Names of columns with the name of a class, where its label is a number."""
CAPTION_COLUMNS = ("caption*", "text", "sentence*", "prompt", "title")
"""Names of columns with captions of a picture; a pattern matches several columns."""
SYNTHETIC_COLUMNS = ("synthetic*", "syn_text*")
"""Names of columns with captions that a model wrote, beside those of ``CAPTION_COLUMNS``; patterns as there."""
TEXT_COLUMNS = (*CAPTION_COLUMNS, "description", "ocr_text", "name")
"""Names of columns with any text."""
BESIDE_CAPTIONS = ("_weights", "_probs", "_probabilities")
"""Ends of names of columns with a number for each caption, which no pattern of captions matches."""
USER_COLUMNS = ("user", "user_id", "writer", "author")
"""Names of columns with the person who wrote the captions of a row."""
_MAX_LINE = 16 * 2**20  # characters of one JSON line
_MAX_JSON = 2**30  # bytes of a table in one JSON value, which is read whole


def read_columns(
    path: str | os.PathLike[str], wanted: Callable[[str], bool] = lambda name: True
) -> dict[str, list[Any]]:
    """Return the columns of a table, in the order of the file.

    Args:
        path: file that ends in .csv, .tsv, .jsonl, .json (a list of objects; all four UTF-8) or .parquet. A .csv whose
            header has no comma may have semicolons or tabs.
        wanted: whether a column is read, by its name; default all.

    Returns:
        Name -> N cells. Cells of CSV and TSV are stripped text, and "" where a row is short. Other cells have their
        type, and are None where they are empty.

    Raises:
        UsageError: no such file, or not a table.
        DataError: the content does not fit the file ending.
    """
    table = Path(path)
    if table.is_dir():
        raise DataError(
            f"{table} is a folder, not a table: give a file that ends in .csv, .tsv, .jsonl, .json or .parquet."
        )
    if not table.is_file():
        raise UsageError(f"There is no table {table}: check the spelling, or give an absolute path.")
    kind = table.suffix.lower()
    try:
        if kind == ".parquet":
            return _from_parquet(table, wanted)
        if kind in (".csv", ".tsv"):
            return _from_csv(table, wanted)
        if kind == ".jsonl":
            return _from_json_lines(table, wanted)
        if kind == ".json":
            return _from_json(table, wanted)
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
    """Return the names of a table's columns; () where the file cannot be read as a table."""
    kind = table.suffix.lower()
    try:
        if kind == ".parquet":
            import pyarrow.parquet as pq

            with reading_parquet(table):
                return tuple(pq.read_schema(table).names)
        if kind in (".csv", ".tsv"):
            with table.open(encoding="utf-8-sig", newline="") as lines:
                return tuple(c.strip() for c in next(csv.reader(lines, delimiter=separator(table, lines)), []))
        if kind == ".jsonl":
            return tuple(_from_json_lines(table, lambda name: True, rows=1))
        if kind == ".json":
            return tuple(_from_json(table, lambda name: True, rows=1))
    except (DataError, csv.Error, UnicodeDecodeError, ValueError, OSError, RecursionError):
        pass
    return ()


def columns_of(names: Iterable[str], wanted: Sequence[str], given: str = "") -> list[str]:
    """Return the columns that a name or pattern matches; [] where there are none.

    Args:
        names: names of the columns.
        wanted: usual names or patterns, of which the first that matches counts.
        given: the name or pattern of the user, such as "caption_*", or several with commas between them, in whose order
            columns are returned; "" uses ``wanted``.
    """
    columns = list(names)
    if given and given not in columns and "," in given:
        patterns = [p for part in given.split(",") if (p := part.strip())]
        return list(dict.fromkeys(c for p in patterns for c in _matching(columns, p)))
    matches = (_matching(columns, pattern) for pattern in ([given] if given else wanted))
    return next((matching for matching in matches if matching), [])


def _matching(columns: Sequence[str], pattern: str) -> list[str]:
    """Return the columns that a pattern matches; those with weights of captions only by their whole name."""
    return [c for c in columns if fnmatchcase(c, pattern) and (c == pattern or not c.endswith(BESIDE_CAPTIONS))]


def chosen_column(table: Path, names: Iterable[str], wanted: Sequence[str], given: str, what: str) -> str:
    """Return the first column of ``columns_of``.

    Args:
        table: the file, for the error.
        names: names of its columns.
        wanted: usual names of the column.
        given: the name from the user; "" uses ``wanted``.
        what: content of the column, such as "the pictures ({image})", for the error.

    Raises:
        UsageError: no column has a usual name.
        DataError: no column has the given name, or there are none.
    """
    columns = list(names)
    if not any(columns):
        raise DataError(f"{table} is empty: give a table with a line of column names.")
    if not (matching := columns_of(columns, wanted, given)) and given:
        raise DataError(f"{table} has no column {given!r}, only {columns_there(columns)}: name one with {what}.")
    if not matching:
        renamed = f", or rename it to {wanted[0].rstrip('*')}" if wanted else ""  # not every command has the argument
        raise UsageError(f"{table} has the columns {columns_there(columns)}: name the one with {what}{renamed}.")
    return matching[0]


def filled(table: Path, column: str, cells: Sequence[Any]) -> list[str]:
    """Return the cells of a column as text.

    Raises:
        DataError: a cell is empty.
    """
    values = [text_of(v) for v in cells]
    if "" in values:
        raise DataError(f"Row {values.index('') + 1} of {table} has no {column}: fill it, or remove the row.")
    return values


@contextmanager
def reading_parquet(table: Path) -> Iterator[None]:
    """Raise DataError where the block meets a damaged Parquet file."""
    import pyarrow as pa

    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:  # some of pyarrow's are neither of the first two
        refuse(table, error)


def refuse(table: Path, error: Exception) -> NoReturn:
    """Raise the DataError of a table that cannot be read."""
    excel = " (in Excel: Save As, CSV UTF-8)" if isinstance(error, UnicodeDecodeError) else ""
    raise DataError(
        f"{table} cannot be read as a table ({str(error)[:120]}): save it again as UTF-8 CSV{excel}, TSV or Parquet."
    ) from error


def text_of(cell: Any) -> str:
    """Return a cell as text; "" for None.

    Raises:
        DataError: it holds bytes that are no UTF-8 text.
    """
    if isinstance(cell, bytes):
        try:
            return cell.decode("utf-8")
        except UnicodeDecodeError:
            raise DataError(
                f"A cell holds bytes that are no UTF-8 text ({cell[:20]!r}): write text there, or name another column."
            ) from None
    return "" if cell is None else str(cell)


def refuse_twins(table: str | os.PathLike[str], names: Iterable[str]) -> None:
    """Refuse two columns of one name, of which one would be read silently.

    Raises:
        DataError: there are two.
    """
    seen: set[str] = set()
    for name in names:
        if name and name in seen:
            raise DataError(f"{os.fspath(table)} has two columns named {name!r}: rename one of them.")
        seen.add(name)


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

    with reading_parquet(table), pq.ParquetFile(table) as file:
        refuse_twins(table, file.schema_arrow.names)
        data = file.read(columns=[c for c in file.schema_arrow.names if wanted(c)])
        return {c: _decoded(data.column(c).to_pylist()) for c in data.column_names}


def _decoded(cells: list[Any]) -> list[Any]:
    """Return cells of bytes as text where all are UTF-8, as tools without a type for text write it; others as they
    are.
    """
    if not any(isinstance(cell, bytes) for cell in cells):
        return cells
    try:
        return [cell.decode("utf-8") if isinstance(cell, bytes) else cell for cell in cells]
    except UnicodeDecodeError:
        return cells


def separator(table: Path, lines: TextIO) -> str:
    """Return what separates the columns: a tab in .tsv; in .csv a comma, or where the header has none outside of
    quotes, the semicolon that spreadsheets write where the comma stands in numbers, or a tab. The file is at its start
    after it.
    """
    head = re.sub('"[^"]*"', "", lines.readline(_MAX_LINE))
    lines.seek(0)
    marks = "\t" if table.suffix.lower() == ".tsv" else ",;\t"
    return next((m for m in marks if m in head), marks[0])


def _from_csv(table: Path, wanted: Callable[[str], bool]) -> dict[str, list[Any]]:
    with table.open(encoding="utf-8-sig", newline="") as lines:
        mark = separator(table, lines)
        reader = csv.DictReader(lines, delimiter=mark, strict=True)
        reader.fieldnames = names = [c.strip() for c in reader.fieldnames or ()]
        refuse_twins(table, names)
        if mark == "\t" and len(names) == 1 and any(other in names[0] for other in ",;"):
            raise ValueError(f"the columns of {names[0][:60]!r} are not separated by tabs")
        cells: dict[str, list[Any]] = {c: [] for c in names if wanted(c)}
        for number, row in enumerate(reader, 1):
            if any(cell.strip() for cell in row.get(None, ())):
                raise ValueError(f"row {number} has more cells than the header: put text with {mark!r} in quotes")
            for c, column in cells.items():
                column.append((row[c] or "").strip())
        return cells


def _from_json_lines(table: Path, wanted: Callable[[str], bool], rows: int | None = None) -> dict[str, list[Any]]:
    with table.open(encoding="utf-8-sig") as lines:
        return _columns(islice(_objects(lines), rows), wanted, "line")


def _objects(lines: TextIO) -> Iterator[Any]:
    count = 0
    while line := lines.readline(_MAX_LINE + 1):
        if len(line) > _MAX_LINE:
            raise ValueError(f"line {count + 1} has more than {_MAX_LINE:,} characters")
        if line.strip():
            count += 1
            yield json.loads(line, object_pairs_hook=_object)


def _from_json(table: Path, wanted: Callable[[str], bool], rows: int | None = None) -> dict[str, list[Any]]:
    if table.stat().st_size > _MAX_JSON:
        raise ValueError(f"it has more than {_MAX_JSON:,} bytes: write a row a line, as .jsonl")
    content = json.loads(table.read_text(encoding="utf-8-sig"), object_pairs_hook=_object)
    if not isinstance(content, list):
        raise ValueError("it is no list of objects")
    return _columns(content[:rows], wanted, "row")


def _columns(objects: Iterable[Any], wanted: Callable[[str], bool], what: str) -> dict[str, list[Any]]:
    """Return name -> the value of each object, None where it has none."""
    cells: dict[str, list[Any]] = {}
    for count, row in enumerate(objects):
        if not isinstance(row, dict):
            raise ValueError(f"{what} {count + 1} is no JSON object")
        for name in row:
            if name not in cells and wanted(name):
                cells[name] = [None] * count
        for name, column in cells.items():
            column.append(row.get(name))
    return cells


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has two fields named {twin!r}: rename one of them")
    return row
