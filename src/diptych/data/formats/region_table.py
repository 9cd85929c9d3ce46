"""A table with one region per row, beside a data set of pictures: boxes with phrases."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import Column, DataError, Table, UnreadableItem
from diptych.core.wording import columns_there
from diptych.data.formats.regions import Boxes, BoxForm, boxes
from diptych.data.images import image_size
from diptych.data.labelled import LabelledData
from diptych.data.named_sets import located
from diptych.data.rows import in_order, read_columns, text_of

PHRASE_COLUMNS = ("phrase", "caption", "text", "description")
CLASS_COLUMNS = ("category", "label", "class")
VISIBLE = 0.5
"""Least share of a box that must lie in its picture."""
FORMS: Mapping[BoxForm, tuple[str, ...]] = {"xywh": ("x", "y", "w", "h"), "xyxy": ("x0", "y0", "x1", "y1")}


def with_regions(data: LabelledData, path: str | os.PathLike[str]) -> LabelledData:
    """Return pictures with the columns "boxes" and "phrases" of a table that has a row a region.

    Its columns are image or path; x, y, w, h or x0, y0, x1, y1, in pixels; phrase, caption, text or description, or
    else category, label or class, before whose name an article is put; and optionally iscrowd. Paths start at the
    table's folder. A picture without rows has no regions, and rows of other pictures are left out. Boxes that stick out
    of their picture are cut to it.

    Raises:
        UsageError: no such file, or not a table.
        DataError: a column is missing, a box is not valid or lies for the greater part outside its picture, a phrase is
            empty, or no row is of these pictures.
    """
    path = located(path)
    cells = read_columns(path)
    at = next((c for c in ("image", "path") if c in cells), None)
    form = next((f for f, names in FORMS.items() if set(names) <= cells.keys()), None)
    phrase_column = next((c for c in (*PHRASE_COLUMNS, *CLASS_COLUMNS) if c in cells), None)
    if at is None or form is None or phrase_column is None:
        raise DataError(
            f"{path} needs a column image or path, x, y, w, h or x0, y0, x1, y1, and phrase or category, and has "
            f"{columns_there(cells)}."
        )
    rows: dict[str, list[int]] = {}
    for i, name in enumerate(cells[at]):
        if not text_of(cells[phrase_column][i]).strip():
            raise DataError(f"Row {i + 1} of {path} has no {phrase_column}: fill it, or remove the row.")
        rows.setdefault(_place(Path(path).parent, text_of(name)), []).append(i)
    classes = () if phrase_column in PHRASE_COLUMNS else in_order({text_of(v) for v in cells[phrase_column]})

    def of(picture: str, numbers: list[int]) -> tuple[Boxes, tuple[str, ...]]:
        try:
            values = [[float(cells[n][i]) for n in FORMS[form]] for i in numbers]
        except (TypeError, ValueError) as error:
            raise DataError(f"{path} holds a box that is not four numbers ({error}): correct it.") from None
        for i, (a, b, c, d) in zip(numbers, values, strict=True):
            wide, high = (c - a, d - b) if form == "xyxy" else (c, d)
            if not np.isfinite((a, b, c, d)).all():
                raise DataError(
                    f"Row {i + 1} of {path} has the box {a:g}, {b:g}, {c:g}, {d:g}, which is not four finite numbers: "
                    f"correct or remove it."
                )
            if not (wide > 0 and high > 0):
                raise DataError(f"Row {i + 1} of {path} has a box of {wide:g} x {high:g} pixels: correct or remove it.")
        names = [text_of(cells[phrase_column][i]).strip() for i in numbers]
        cut = boxes(values, form, [classes.index(n) if classes else -1 for n in names], crowd_of(numbers))
        cut = cut._replace(corners=_cut(cut.corners, picture, [f"Row {i + 1} of {path}" for i in numbers]))
        return cut, tuple(_with_article(n) for n in names) if classes else tuple(names)

    def crowd_of(numbers: list[int]) -> list[bool]:
        marks = cells.get("iscrowd")
        return [] if marks is None else [text_of(marks[i]) in ("1", "True", "true") for i in numbers]

    splits = {name: _with_boxes(table, rows, of) for name, table in data.splits.items()}
    if not any(len(v.corners) for table in splits.values() for v in table.columns["boxes"].values):
        raise DataError(f"No row of {path} is of a picture of {data.name}: check the paths in its column {at}.")
    return replace(data, splits=splits)


def _with_boxes(table: Table[Any], rows: Mapping[str, list[int]], of: Any) -> Table[Any]:
    pictures = [_place(Path(), table.items.name(i)) for i in range(len(table))]
    pairs = [of(picture, rows.get(picture, [])) for picture in pictures]
    columns = {
        "boxes": Column("boxes", tuple(of_picture for of_picture, _ in pairs)),
        "phrases": Column("captions", tuple(phrases for _, phrases in pairs)),
    }
    return Table(table.items, {**table.columns, **columns})


def _cut(corners: NDArray[np.float32], picture: str, rows: list[str]) -> NDArray[np.float32]:
    """Return (n, 4) boxes cut to their picture; as they are where it cannot be read, which its reader says.

    Raises:
        DataError: less than half of a box lies in the picture, so that it belongs to another one, or to another size.
    """
    if not rows:
        return corners
    try:
        width, height = image_size(picture)
    except UnreadableItem:
        return corners
    inside = corners.clip(0, [width, height, width, height]).astype(np.float32)
    for row, box, clipped in zip(rows, corners, inside, strict=True):
        if _area(clipped) < VISIBLE * _area(box):
            raise DataError(
                f"{row} has the box {', '.join(f'{v:g}' for v in box)} (x0, y0, x1, y1), most of which lies outside "
                f"{picture} of {width} x {height} pixels: correct or remove it."
            )
    return inside


def _area(box: NDArray[np.float32]) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _with_article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _place(folder: Path, name: str) -> str:
    return os.path.normpath(os.path.abspath(folder / name))
