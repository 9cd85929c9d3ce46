"""Tables of edits: edited pictures, and beside each its source, the target text and two lists of attributes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diptych.core import Column, DataError, Samples, Table
from diptych.core.wording import columns_there
from diptych.data.folders import ImageFiles
from diptych.data.inside import inside
from diptych.data.keys import FileKeys
from diptych.data.rows import filled, read_columns, text_of

SOURCE, TARGET = "source", "captions"
SOURCE_ATTRIBUTES, TARGET_ATTRIBUTES = "source_attributes", "target_attributes"
"""Names of the columns. The target text is the caption of the edited picture, so scorers of captions read it too."""
SEPARATOR = "|"
"""Between the attributes of a cell."""


def edit_table(
    sources: Samples[Any],
    edits: Samples[Any],
    targets: Sequence[str],
    source_attributes: Sequence[Sequence[str]],
    target_attributes: Sequence[Sequence[str]],
) -> Table[Any]:
    """Return a table of N edits.

    Args:
        sources: N pictures before the edit; several edits of one source repeat it.
        edits: N edited pictures, the items of the table.
        targets: N texts, what the edited picture should show.
        source_attributes: N lists of phrases that describe the source.
        target_attributes: N lists of phrases that describe the source after the edit; what must stay is in both.

    Raises:
        DataError: the numbers differ, or a target or a list is empty.

    Example:
        >>> from diptych.core import Texts
        >>> table = edit_table(Texts(("a",)), Texts(("b",)), ["a red cup"], [["a cup", "blue"]], [["a cup", "red"]])
        >>> table.images("source")[0], attributes(table, TARGET_ATTRIBUTES)
        ('a', (('a cup', 'red'),))
    """
    for i, (target, *lists) in enumerate(zip(targets, source_attributes, target_attributes, strict=False)):
        if not target.strip() or not all(lists):
            raise DataError(f"Edit {i + 1} has no target text or an empty list of attributes: fill them.")
    return Table(
        edits,
        {
            SOURCE: Column.images(sources),
            TARGET: Column("captions", tuple((t,) for t in targets)),
            SOURCE_ATTRIBUTES: Column("captions", tuple(map(tuple, source_attributes))),
            TARGET_ATTRIBUTES: Column("captions", tuple(map(tuple, target_attributes))),
        },
    )


def attributes(table: Table[Any], column: str) -> tuple[tuple[str, ...], ...]:
    """Return the N lists of attributes of a column.

    Raises:
        DataError: the table has no such column.
    """
    texts = table.columns.get(column)
    if texts is None or texts.kind != "captions":
        there = columns_there(table.columns)
        raise DataError(
            f"This table has no column {column!r}, only {there}: give a table of edits, see diptych.data.edits."
        )
    return tuple(tuple(map(str, values)) for values in texts.values)


def read_edits(path: str | os.PathLike[str], keys: FileKeys | None = None) -> Table[Any]:
    """Read a .csv, .tsv or .parquet table with one edit a row.

    Its columns are "source" and "edit" (pictures, relative to the table's folder), "target" (a text),
    "source_attributes" and "target_attributes" (phrases with "|" between them).

    Raises:
        UsageError: no such file, or not a table.
        DataError: a column or a cell is missing, or a path leads outside the table's folder.
    """
    table = Path(path)
    columns = read_columns(table)
    for name in ("source", "edit", "target", SOURCE_ATTRIBUTES, TARGET_ATTRIBUTES):
        if name not in columns:
            raise DataError(
                f"{table} has no column {name!r}, only {columns_there(columns)}: a table of edits has source, edit, "
                f"target, {SOURCE_ATTRIBUTES} and {TARGET_ATTRIBUTES}."
            )

    def files(name: str) -> ImageFiles:
        values = filled(table, name, columns[name])
        return ImageFiles([inside(table.parent, v, f"Row {i + 1} of {table}") for i, v in enumerate(values)], keys)

    def phrases(name: str) -> list[list[str]]:
        return [[p.strip() for p in text_of(v).split(SEPARATOR) if p.strip()] for v in columns[name]]

    return edit_table(
        files("source"), files("edit"), filled(table, "target", columns["target"]), phrases(SOURCE_ATTRIBUTES),
        phrases(TARGET_ATTRIBUTES),
    )  # fmt: skip
