"""ImageNet-X as it is published: what is unusual about pictures of ImageNet, in sixteen factors.

A file imagenet_x_(train|val)_(top|multi)_factor.jsonl has one line per picture: file_name, class (0 to 999) and sixteen
numbers 0 or 1. The pictures lie anywhere below its folder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diptych.core import Column, DataError, Table
from diptych.data.folders import ImageFiles, image_paths
from diptych.data.keys import FileKeys
from diptych.data.labelled import LabelledData
from diptych.data.rows import filled, header, read_columns

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
        found = where.get(Path(name).name)
        rows += [(found, int(number), factor) for factor in FACTORS if found and str(cells[factor][i]) == "1"]
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
