"""Labelled pictures with a group each, such as background, domain or origin.

ImageNet-X says what is unusual about pictures of ImageNet, in sixteen factors. Its file
imagenet_x_(train|val)_(top|multi)_factor.jsonl has one line per picture: file_name, class (0 to 999) and sixteen
numbers 0 or 1. The pictures lie anywhere below its folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diptych.core import Column, DataError, Table, UsageError
from diptych.data.folders import ImageFiles, image_paths
from diptych.data.format import Format, Request
from diptych.data.inside import all_inside
from diptych.data.keys import FileKeys
from diptych.data.labelled import LabelledData, label_column
from diptych.data.rows import (
    LABEL_COLUMNS,
    PATH_COLUMNS,
    SUFFIXES,
    chosen_column,
    filled,
    header,
    in_order,
    read_columns,
)


def read_grouped(path: Path, group: str = "", label: str = "", keys: FileKeys | None = None) -> LabelledData:
    """Read labelled pictures with a column "group", all in the split "test".

    A column "split" is not read, since an audit does not train.

    Args:
        path: a table with one picture per row, a folder with one named labels.csv, a folder CLASS/GROUP/picture (as
            CounterAnimal is published), or the annotations of ImageNet-X.
        group: column of the table with the group; "" for folders.
        label: column of the table with the class; "" uses the usual names.
        keys: cache of content keys.

    Raises:
        UsageError: there is no name of the column with groups or classes.
        DataError: a column or a value is missing, or the folder has no such layout.
    """
    table = path / "labels.csv" if (path / "labels.csv").is_file() else path
    if not group and is_imagenet_x(table):
        return read_imagenet_x(table, keys)
    if not table.is_dir():
        return _from_table(table, group, label, keys)
    pictures = [(p, p.relative_to(path).parts) for p in image_paths(path)]
    if (group or label) and pictures:
        raise UsageError(
            f"{path} holds no labels.csv, so it has no column {group or label}: give a table, or folders CLASS/GROUP."
        )
    if not pictures or any(len(parts) != 3 for _, parts in pictures):
        raise DataError(
            f"The pictures of {path} do not lie in folders CLASS/GROUP: lay them out so, or give a table with a group "
            f"column."
        )
    return _data(
        path.name,
        [str(p) for p, _ in pictures],
        [c for _, (c, _, _) in pictures],
        [g for _, (_, g, _) in pictures],
        keys,
    )


def _from_table(table: Path, group: str, label: str, keys: FileKeys | None) -> LabelledData:
    cells = read_columns(table)
    names = (
        chosen_column(table, cells, PATH_COLUMNS, "", "the pictures"),
        chosen_column(table, cells, LABEL_COLUMNS, label, "the classes ({label})"),
        chosen_column(table, cells, (), group, "the groups ({group})"),
    )
    paths, labels, groups = (filled(table, name, cells[name]) for name in names)
    name = table.parent.name if table.name == "labels.csv" else table.stem
    return _data(name, all_inside(table.parent, paths), labels, groups, keys)


def _data(
    name: str, paths: Sequence[str], labels: Sequence[str], groups: Sequence[str], keys: FileKeys | None
) -> LabelledData:
    classes = in_order(set(labels))
    columns = {"label": label_column(labels, classes), "group": Column("group", np.array(groups, dtype=np.str_))}
    return LabelledData(name, classes, {"test": Table(ImageFiles(paths, keys), columns)})


def _matches(path: Path, request: Request) -> bool:
    return path.is_dir() or (path.is_file() and path.suffix.lower() in (*SUFFIXES, ".jsonl"))


GROUPED = Format(
    "a table with a column of groups, or a folder CLASS/GROUP/picture",
    _matches,
    lambda path, request: read_grouped(path, request.group, request.label, request.keys),
    frozenset(("groups",)),
)


FACTORS = (
    "pose", "background", "pattern", "color", "smaller", "shape", "partial_view", "subcategory", "texture", "larger",
    "darker", "object_blocking", "person_blocking", "style", "brighter", "multiple_objects",
)  # fmt: skip


def is_imagenet_x(table: Path) -> bool:
    """Return whether a file holds annotations of ImageNet-X."""
    return table.is_file() and table.suffix.lower() == ".jsonl" and {"file_name", "class", *FACTORS} <= {*header(table)}


def read_imagenet_x(table: Path, keys: FileKeys | None = None) -> LabelledData:
    """Read annotated pictures, all in the split "test".

    Returns:
        The 1,000 classes under OpenAI's names, and a group column with the factor. A picture with several factors
        (file "multi") is an item of each; one with none, or that lies nowhere below the folder, is left out.

    Raises:
        DataError: no picture is there, or a cell is not of its kind.
    """
    from open_clip import IMAGENET_CLASSNAMES

    cells = read_columns(table)
    names, numbers = (filled(table, name, cells[name]) for name in ("file_name", "class"))
    where = {path.name: str(path) for path in image_paths(table.parent)}
    rows: list[tuple[str, int, str]] = []
    for i, (name, number) in enumerate(zip(names, numbers, strict=True)):
        if not number.isdecimal() or int(number) >= len(IMAGENET_CLASSNAMES):
            raise DataError(f"Row {i + 1} of {table} has the class {number!r}: a class is a number from 0 to 999.")
        row = where.get(Path(name).name)
        rows += [(row, int(number), factor) for factor in FACTORS if row and str(cells[factor][i]) == "1"]
    if not rows:
        raise DataError(
            f"None of the {len(names)} pictures that {table} names lies below {table.parent}: put the file into the "
            f"folder of the pictures."
        )
    columns = {
        "label": Column("label", np.array([k for _, k, _ in rows], dtype=np.int64)),
        "group": Column("group", np.array([factor for _, _, factor in rows], dtype=np.str_)),
    }
    pictures = ImageFiles([path for path, _, _ in rows], keys)
    return LabelledData(table.stem, tuple(IMAGENET_CLASSNAMES), {"test": Table(pictures, columns)})
