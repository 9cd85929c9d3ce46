"""MMVP-VLM and MMVP as they are published: pairs of pictures with a statement, or a question and its answer, each.

MMVP-VLM holds Questions.csv (id of the picture, pattern, statement) and "MLLM_VLM Images/PATTERN/ID.jpg"; MMVP holds
Questions.csv (Index, Question, Options, Correct Answer) and "MMVP Images/ID.jpg". Two consecutive rows are a pair.
"""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path
from typing import Any

from diptych.core import Column, DataError, Table
from diptych.data.folders import ImageFiles
from diptych.data.inside import inside
from diptych.data.keys import FileKeys
from diptych.data.named_sets import located

LISTING, IMAGES, QUESTIONED = "Questions.csv", "MLLM_VLM Images", "MMVP Images"
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
    rows = _rows(path / LISTING, 3, "an id, a pattern or a statement")
    for one, two in zip(rows[::2], rows[1::2], strict=True):
        if one[1] != two[1]:
            raise DataError(f"{path / LISTING} pairs {one[0]} ({one[1]}) with {two[0]} ({two[1]}): sort it by pairs.")
    files = [
        inside(path / IMAGES, f"{pattern}/{number}.jpg", f"Row {i + 2} of {path / LISTING}")
        for i, (number, pattern, *_) in enumerate(rows)
    ]
    return _pairs(files, [row[2] for row in rows], keys, pattern=Column("group", tuple(row[1] for row in rows)))


def is_mmvp(folder: str | os.PathLike[str]) -> bool:
    """Return whether a folder has the layout of MMVP, the questions to language models."""
    path = located(folder)
    return (path / LISTING).is_file() and (path / QUESTIONED).is_dir()


def read_mmvp(folder: str | os.PathLike[str], keys: FileKeys | None = None) -> Table[Any]:
    """Read the pairs of a folder with Questions.csv and "MMVP Images"; a name in the folder of DIPTYCH_DATA becomes the
    path there.

    Returns:
        2 P pictures with the columns "group" ("pair 1" and so on) and "captions": the question and its right answer,
        such as "Is the door open or closed? Open", for a model that reads no options (ours). The two pictures of a pair
        are asked the same, and have other answers.

    Raises:
        DataError: a file or a cell is missing, a pair is incomplete, or a right answer is none of the options.
    """
    path = located(folder)
    if not is_mmvp(path):
        raise DataError(f"{path} has no {LISTING} beside '{QUESTIONED}': give the folder of MMVP.")
    rows = _rows(path / LISTING, 4, "an index, a question, options or the right answer")
    files, statements = [], []
    for i, (number, question, options, right, *_) in enumerate(rows):
        where = f"Row {i + 2} of {path / LISTING}"
        answers = {letter.lower(): text.strip() for letter, text in _OPTION.findall(options)}
        if (letter := right.strip("() ").lower()) not in answers:
            raise DataError(f"{where} has the right answer {right!r}, which is none of its options: {options[:200]}.")
        files.append(inside(path / QUESTIONED, f"{number}.jpg", where))
        statements.append(f"{question} {answers[letter]}")
    return _pairs(files, statements, keys)


_OPTION = re.compile(r"\(([a-zA-Z])\)\s*([^(]+)")


def _rows(listing: Path, cells: int, what: str) -> list[list[str]]:
    """Return the rows under the head of a listing, two a pair, each with so many cells that are filled."""
    with listing.open(encoding="utf-8-sig", newline="") as file:
        head, *rows = list(csv.reader(file)) or [[]]
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    for i, row in enumerate(rows):
        if len(row) < cells or not all(row[:cells]):
            raise DataError(f"Row {i + 2} of {listing} lacks {what}: {', '.join(row)}.")
    if not head or len(rows) % 2 or not rows:
        raise DataError(f"{listing} has {len(rows)} rows under its head, and two rows are a pair: give all.")
    return rows


def _pairs(files: list[str], statements: list[str], keys: FileKeys | None, **columns: Column) -> Table[Any]:
    """Return pictures, two consecutive ones a pair, each with its statement."""
    pairs = Column("group", tuple(f"pair {i // 2 + 1}" for i in range(len(files))))
    captions = Column("captions", tuple((s,) for s in statements))
    return Table(ImageFiles(files, keys), {"group": pairs, "captions": captions, **columns})
