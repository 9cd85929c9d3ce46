"""Pictures with conflicting cues: the shape of one class, the texture of another.

Two layouts are read: folders SHAPE/SHAPE1-TEXTURE2.png, as Geirhos et al. 2019 publish them, and a table with the
columns path, shape_class and texture_class.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from diptych.core import Column, DataError, Table
from diptych.core.wording import columns_there
from diptych.data.folders import ImageFiles
from diptych.data.images import SUFFIXES
from diptych.data.inside import inside
from diptych.data.keys import FileKeys
from diptych.data.labelled import LabelledData, label_column
from diptych.data.named_sets import located
from diptych.data.rows import PATH_COLUMNS, header, read_columns, text_of

SHAPE, TEXTURE = "shape_class", "texture_class"
COLUMN = "texture"
"""Name of the group column with the class of the texture."""
_NAME = re.compile(r"^(.+?)\d*-(.+?)\d*$")


def read_cues(spec: str | os.PathLike[str], keys: FileKeys | None = None) -> LabelledData:
    """Read pictures with conflicting cues from a folder in either layout, or the table; a name in the folder of
    DIPTYCH_DATA becomes the path there.

    Returns:
        One split "test" with the label of the shape and a group column "texture", the class of the texture. Pictures
        whose two classes are the same, or that have no texture, are left out. Classes are those of either cue, sorted.

    Raises:
        DataError: there is no such picture, or a table lacks a column or leads outside its folder.
        UsageError: the path does not exist.
    """
    path = located(spec)
    table = path / "labels.csv" if (path / "labels.csv").is_file() else path
    rows = _from_folder(path) if table.is_dir() else _from_table(table)
    rows = [(file, shape, texture) for file, shape, texture in rows if texture and shape != texture]
    if not rows:
        raise DataError(
            f"{path} has no picture whose shape and texture are of two classes: give folders "
            f"SHAPE/SHAPE1-TEXTURE2.png, or a table with the columns path, {SHAPE} and {TEXTURE}."
        )
    classes = tuple(sorted({c for _, shape, texture in rows for c in (shape, texture)}))
    columns = {
        "label": label_column([shape for _, shape, _ in rows], classes),
        COLUMN: Column("group", tuple(texture for _, _, texture in rows)),
    }
    return LabelledData(os.fspath(spec), classes, {"test": Table(ImageFiles([r[0] for r in rows], keys), columns)})


def _from_folder(path: Path) -> list[tuple[str, str, str]]:
    files = sorted(p for p in path.glob("*/*") if p.suffix.lower() in SUFFIXES)
    return [(str(p), p.parent.name, name[2]) for p in files if (name := _NAME.match(p.stem))]


def _from_table(table: Path) -> list[tuple[str, str, str]]:
    column = next((c for c in PATH_COLUMNS if c in header(table)), PATH_COLUMNS[0])
    columns = read_columns(table, {column, SHAPE, TEXTURE}.__contains__)
    for name in (column, SHAPE, TEXTURE):
        if name not in columns:
            raise DataError(
                f"{table} has no column {name!r}, only {columns_there(header(table))}: a table of cues has path, "
                f"{SHAPE} and {TEXTURE}."
            )
    return [
        (inside(table.parent, text_of(file), f"Row {i + 1} of {table}"), text_of(shape), text_of(texture))
        for i, (file, shape, texture) in enumerate(zip(columns[column], columns[SHAPE], columns[TEXTURE], strict=True))
    ]
