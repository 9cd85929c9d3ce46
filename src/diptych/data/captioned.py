"""Pictures with one caption a row, as a table; a picture or caption may come again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diptych.core.data import Column, Table
from diptych.core.errors import DataError, UsageError
from diptych.data.folders import ImageFiles
from diptych.data.keys import FileKeys
from diptych.data.named_sets import captions_table
from diptych.data.rows import all_inside, read_columns
from diptych.data.tables import PATH_COLUMNS

TEXT_COLUMNS = ("caption", "title", "text", "caption_0")


def open_captioned(path: str | Path, image: str = "", text: str = "", keys: FileKeys | None = None) -> Table[Any]:
    """Read pictures with their captions.

    Args:
        path: .csv, .tsv, .jsonl or .parquet; relative paths of pictures start at its folder.
        image: column with the picture; "": path, filepath, image or image_path.
        text: column with the caption; "": caption, title, text or caption_0.
        keys: remembers content keys.

    Returns:
        N pictures with the column "captions", one text each.

    Raises:
        UsageError: there is no such file, or a column is not there.
        DataError: the table is damaged, empty, or a row lacks picture or caption.
    """
    table = captions_table(path)
    cells = {name: ["" if v is None else str(v) for v in column] for name, column in read_columns(table).items()}
    chosen = {
        "the pictures (--image)": image or next((c for c in PATH_COLUMNS if c in cells), ""),
        "the captions (--text)": text or next((c for c in TEXT_COLUMNS if c in cells), ""),
    }
    for what, name in chosen.items():
        if name not in cells:
            raise UsageError(f"{table} has the columns {', '.join(cells)[:300]}: name the one with {what}.")
        if "" in cells[name]:
            raise DataError(f"Row {cells[name].index('') + 1} of {table} has no {name}: fill it, or remove the row.")
    paths, texts = (cells[name] for name in chosen.values())
    if not paths:
        raise DataError(f"{table} has no rows: give one picture a row.")
    return Table(
        ImageFiles(all_inside(table.parent, paths), keys), {"captions": Column("captions", tuple((t,) for t in texts))}
    )
