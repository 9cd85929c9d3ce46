"""Any table as typed columns, whose kinds the caller gives."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diptych.core import Column, ColumnKind, DataError, Samples, Table, UsageError
from diptych.core.wording import columns_there
from diptych.data.folders import ImageFiles
from diptych.data.formats.regions import Boxes, BoxForm, boxes, class_masks
from diptych.data.inside import all_inside
from diptych.data.labelled import SPLIT_NAMES, SPLITS, LabelledData, label_column
from diptych.data.rows import columns_of, in_order, read_columns

Open = Callable[[str, Sequence[str]], Samples[Any]]


@dataclass(frozen=True)
class Typed:
    """Kind and source of a column of the result.

    Args:
        source: column of the file, or for "captions" and "vector" a pattern of several, such as "caption_*".
        separator: separator of the names in a cell of "multilabel".
        classes: order of classes of "label" and "multilabel"; () uses the present values, sorted.

    A value of the result is:

    - "label": int64; "multilabel": (K,) bool;
    - "captions": tuple of texts, without empty cells;
    - "mask": (H, W) int32, from a path;
    - "group", "entity" and "user": text;
    - "vector": (D,) float64, NaN for empty cells.
    """

    kind: ColumnKind
    source: str
    separator: str = ";"
    classes: tuple[str, ...] = ()


def pictures(folder: str, cells: Sequence[str]) -> Samples[Any]:
    """Open the cells as picture files below the table's folder."""
    return ImageFiles(all_inside(folder, cells))


def read_typed(
    path: str | os.PathLike[str],
    columns: Mapping[str, Typed],
    items: str = "path",
    opens: Open = pictures,
    more: Callable[[Sequence[int]], Mapping[str, Column]] = lambda rows: {},
) -> LabelledData:
    """Read a table with typed columns. A column "split" defines the splits; without it all rows are "test".

    Args:
        path: .csv, .tsv, .jsonl, .json or .parquet.
        columns: name in the result -> kind and source.
        items: column of the file with the items.
        opens: function from (the table's folder, M cells) to the items: ``pictures`` (default),
            ``clips.frame_folders``, ``clips.videos``, ``points.clouds``, or one for ids, such as ``LightCurves.rows``.
        more: numbers of rows -> further columns of these rows.

    Returns:
        Data whose classes are those of the column "label", or else of the first multilabel column, or ().

    Raises:
        UsageError: no such file, or a column of boxes, which ``read_boxes`` reads.
        DataError: a column is missing, a cell has no value or a wrong one, or a split has an unknown name.
    """
    cells = read_columns(path)
    folder = os.path.dirname(os.path.abspath(path))
    if items not in cells:
        raise DataError(f"{path} has no column {items!r}, only {columns_there(cells)}: name the column with the items.")
    typed = {name: _Reader(Path(path), folder, cells, spec) for name, spec in columns.items()}
    rows: dict[str, list[int]] = {}
    for number, value in enumerate(cells.get("split", ["test"] * len(cells[items]))):
        split = SPLIT_NAMES.get(str(value).lower())
        if split is None:
            raise DataError(f"Row {number + 1} of {path} has the split {value!r}: use train, val or test.")
        rows.setdefault(split, []).append(number)
    splits = {}
    for split in SPLITS:
        if split in rows:
            typed_columns = {n: reader.column(rows[split]) for n, reader in typed.items()} | dict(more(rows[split]))
            splits[split] = Table(opens(folder, [_text(cells[items][i]) for i in rows[split]]), typed_columns)
    labels = [r for r in typed.values() if r.spec.kind == "label"] or [
        r for r in typed.values() if r.spec.kind == "multilabel"
    ]
    return LabelledData(Path(path).stem, labels[0].classes if labels else (), splits)


class _Reader:
    def __init__(self, path: Path, folder: str, cells: Mapping[str, list[Any]], spec: Typed) -> None:
        if spec.kind == "boxes":
            raise UsageError("Boxes have a row each, so no column of a table of items holds them: use read_boxes.")
        self.path, self.folder, self.spec = path, folder, spec
        self.names = columns_of(cells, (), spec.source)
        if not self.names or (len(self.names) > 1 and spec.kind not in ("captions", "vector")):
            raise DataError(
                f"{path} has {len(self.names)} columns {spec.source!r} for {spec.kind}, among "
                f"{columns_there(cells)}: name one."
            )
        self.cells = [cells[c] for c in self.names]
        present = (
            {name for value in self.cells[0] for name in self._parts(value)}
            if spec.kind in ("label", "multilabel")
            else set()
        )
        if spec.classes and (unknown := present - set(spec.classes)):
            raise DataError(f"{path} holds {sorted(unknown)[0]!r}, which is none of the classes given: add it.")
        self.classes = spec.classes or in_order(present)

    def _parts(self, value: Any) -> list[str]:
        if isinstance(value, list):
            return [_text(v) for v in value]
        return (
            [p for part in _text(value).split(self.spec.separator) if (p := part.strip())]
            if self.spec.kind == "multilabel"
            else [_text(value)]
        )

    def column(self, rows: Sequence[int]) -> Column:
        kind, first = self.spec.kind, self.cells[0]
        if kind in ("label", "group", "entity", "user", "mask") and (
            empty := [i for i in rows if _text(first[i]) == ""]
        ):
            raise DataError(f"Row {empty[0] + 1} of {self.path} has no {self.names[0]}: fill it, or remove the row.")
        if kind == "label":
            return label_column([_text(first[i]) for i in rows], self.classes)
        if kind == "multilabel":
            position = {c: k for k, c in enumerate(self.classes)}
            marks = np.zeros((len(rows), len(self.classes)), dtype=bool)
            for row, i in enumerate(rows):
                marks[row, [position[p] for p in self._parts(first[i])]] = True
            return Column(kind, marks)
        if kind == "captions":
            return Column(kind, tuple(tuple(t for cells in self.cells for t in _texts(cells[i])) for i in rows))
        if kind == "mask":
            return class_masks(all_inside(self.folder, [_text(first[i]) for i in rows]))
        if kind == "vector":
            return Column(kind, self._vectors(rows))
        return Column(kind, np.array([_text(first[i]) for i in rows], dtype=np.str_))

    def _vectors(self, rows: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float64]]:
        try:
            if len(self.cells) == 1 and isinstance(self.cells[0][rows[0]], list):
                return np.array([self.cells[0][i] for i in rows], dtype=np.float64).reshape(len(rows), -1)
            return np.array(
                [[np.nan if _text(c[i]) == "" else float(c[i]) for c in self.cells] for i in rows], dtype=np.float64
            )
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{self.path} holds a value in {self.spec.source} that is no number ({error}): correct it."
            ) from None


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _texts(value: Any) -> list[str]:
    return [t for v in (value if isinstance(value, list) else [value]) if (t := _text(v).strip())]


def read_boxes(
    path: str | os.PathLike[str], form: BoxForm, items: Sequence[str], classes: Sequence[str] = ()
) -> tuple[Column, tuple[str, ...]]:
    """Read a table with one box per row.

    Columns are image or path; x, y, w, h or x0, y0, x1, y1; and optionally category, label or class, and iscrowd.

    Args:
        path: .csv, .tsv, .jsonl or .parquet.
        form: "xywh" or "xyxy", which columns are read.
        items: N item names as in the column image or path, in the order of the result.
        classes: order of classes; () uses the present values, sorted.

    Returns:
        A "boxes" column of N ``Boxes``, and the classes. An item without rows has no boxes.

    Raises:
        DataError: a column is missing, a row has no item of these, or a box is not valid.
    """
    cells = read_columns(path)
    at = next((c for c in ("image", "path") if c in cells), None)
    numbers = ("x", "y", "w", "h") if form == "xywh" else ("x0", "y0", "x1", "y1")
    if at is None or any(n not in cells for n in numbers):
        raise DataError(
            f"{path} needs a column image or path and the columns {', '.join(numbers)}, and has {columns_there(cells)}."
        )
    named = next((c for c in ("category", "label", "class") if c in cells), None)
    values = [_text(v) for v in cells[named]] if named else [""] * len(cells[at])
    order = tuple(classes) or in_order(set(values) - {""})
    position = {c: k for k, c in enumerate(order)} | {"": -1}
    rows: dict[str, list[int]] = {name: [] for name in items}
    for i, name in enumerate(cells[at]):
        if name not in rows or values[i] not in position:
            raise DataError(
                f"Row {i + 1} of {path} names {name!r}, {values[i]!r}, which is no item or no class of these: leave "
                f"it out."
            )
        rows[name].append(i)
    crowd = [_text(v) in ("1", "True", "true") for v in cells.get("iscrowd", [0] * len(values))]

    def of(indices: list[int]) -> Boxes:
        try:
            corners = [[float(cells[n][i]) for n in numbers] for i in indices]
        except (TypeError, ValueError) as error:
            raise DataError(f"{path} holds a box that is not four numbers ({error}): correct it.") from None
        return boxes(corners, form, [position[values[i]] for i in indices], [crowd[i] for i in indices])

    return Column("boxes", tuple(of(rows[name]) for name in items)), order
