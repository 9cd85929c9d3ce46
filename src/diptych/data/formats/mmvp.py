"""MMVP-VLM as it is published: pairs of pictures with a statement each, in nine patterns.

The folder holds Questions.csv (id of the picture, pattern, statement) and "MLLM_VLM Images/PATTERN/ID.jpg". Two
consecutive rows are a pair.
"""

from __future__ import annotations

import csv
import os
from typing import Any

from diptych.core.data import Column, Table
from diptych.core.errors import DataError
from diptych.data.folders import ImageFiles
from diptych.data.keys import FileKeys
from diptych.data.named_sets import located
from diptych.data.rows import inside

LISTING, IMAGES = "Questions.csv", "MLLM_VLM Images"
PATTERNS = (
    "Orientation and Direction", "Presence of Specific Features", "State and Condition", "Quantity and Count",
    "Positional and Relational Context", "Color and Appearance", "Structural Characteristics", "Texts",
    "Viewpoint and Perspective",
)  # fmt: skip
"""The nine patterns, in the paper's words. A folder may name others, in any letter case."""


def is_mmvp_vlm(folder: str | os.PathLike[str]) -> bool:
    """Return whether a folder has the layout."""
    path = located(folder)
    return (path / LISTING).is_file() and (path / IMAGES).is_dir()


def read_mmvp_vlm(folder: str | os.PathLike[str], keys: FileKeys | None = None) -> Table[Any]:
    """Read the pairs of a folder with Questions.csv and "MLLM_VLM Images"; a name in the folder of DIPTYCH_DATA becomes
    the path there.

    Returns:
        2 P pictures with the columns "group" ("pair 1" and so on), "captions" (the statement) and "pattern", a group
        column. The pattern is that of the row; the authors' script takes it from the position in the file.

    Raises:
        DataError: a file or a column is missing, a pair is incomplete or of two patterns, or a path leads outside.
    """
    path = located(folder)
    if not is_mmvp_vlm(path):
        raise DataError(f"{path} has no {LISTING} beside '{IMAGES}': give the folder of MMVP-VLM.")
    with (path / LISTING).open(encoding="utf-8-sig", newline="") as file:
        head, *rows = list(csv.reader(file)) or [[]]
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    for i, row in enumerate(rows):
        if len(row) < 3 or not all(row[:3]):
            raise DataError(f"Row {i + 2} of {path / LISTING} lacks an id, a pattern or a statement: {', '.join(row)}.")
    if not head or len(rows) % 2 or not rows:
        raise DataError(f"{path / LISTING} has {len(rows)} rows under its head, and two rows are a pair: give all.")
    for one, two in zip(rows[::2], rows[1::2], strict=True):
        if one[1] != two[1]:
            raise DataError(f"{path / LISTING} pairs {one[0]} ({one[1]}) with {two[0]} ({two[1]}): sort it by pairs.")
    files = [
        inside(path / IMAGES, f"{pattern}/{number}.jpg", f"Row {i + 2} of {path / LISTING}")
        for i, (number, pattern, *_) in enumerate(rows)
    ]
    return Table(
        ImageFiles(files, keys),
        {
            "group": Column("group", tuple(f"pair {i // 2 + 1}" for i in range(len(rows)))),
            "captions": Column("captions", tuple((row[2],) for row in rows)),
            "pattern": Column("group", tuple(row[1] for row in rows)),
        },
    )
