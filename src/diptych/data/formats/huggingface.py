"""Hugging Face data set folders: pictures with metadata.csv or .jsonl, and Parquet files that hold the pictures'
bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diptych.core.data import Column, Samples, Table
from diptych.core.errors import DataError, UsageError
from diptych.data.folders import ImageFiles
from diptych.data.format import Ask, Format
from diptych.data.formats.parquet import class_names, holds_images, image_column, parquet_images
from diptych.data.formats.regions import Boxes, boxes
from diptych.data.keys import FileKeys
from diptych.data.labelled import SPLIT_NAMES, SPLITS, LabelledData
from diptych.data.rows import CAPTION_COLUMNS, columns_of, in_order, inside, read_columns, refuse, text_of, texts_of

_METADATA = ("metadata.csv", "metadata.jsonl")


def is_metadata_folder(root: Path) -> bool:
    """Whether a folder, or a split folder in it, holds a metadata.csv or metadata.jsonl with a column file_name."""
    return bool(metadata_files(root))


def is_parquet_folder(root: Path) -> bool:
    """Whether a folder, or "data" in it, holds Parquet files with pictures in them."""
    files = _parquet_files(root)
    return bool(files) and holds_images(files[0])


def read_metadata_folder(root: str | os.PathLike[str], keys: FileKeys | None = None) -> LabelledData:
    """Read pictures that a metadata.csv or metadata.jsonl describes: below ``root`` itself, or below its split folders.

    Columns: file_name, where relative paths start at the metadata's folder; and, where they are there, label, captions
    (``data.rows.CAPTION_COLUMNS``), and objects ({"bbox": x y w h in pixels, "categories"}).

    Args:
        root: the folder; pictures in it that the metadata do not name are not read.
        keys: remembers content keys.

    Returns:
        Splits with the columns "label", "captions" and "boxes" that the metadata allow; without split folders all is
        "test".

    Raises:
        UsageError: there is no metadata file.
        DataError: no column file_name, a path that leads outside, or a value that is not what its column says.
    """
    files = metadata_files(Path(root))
    if not files:
        raise UsageError(
            f"{root} holds no metadata.csv or metadata.jsonl with a column file_name: add one, or give a folder of "
            f"classes."
        )
    parts: dict[str, tuple[Samples[Any], dict[str, list[Any]]]] = {}
    for split, file in files.items():
        cells = read_columns(file)
        places = [inside(file.parent, str(p or ""), f"Row {i} of {file}") for i, p in enumerate(cells["file_name"], 1)]
        parts[split] = (ImageFiles(places, keys), cells)
    return _data(Path(root).resolve().name, parts, {})


def read_parquet_folder(root: str | os.PathLike[str]) -> LabelledData:
    """Read Parquet files that hold pictures, in a column of {bytes, path} structs or of bytes.

    The column is called image, img, jpg or png, or is the only one of its kind.

    Splits come from the names "train-00000-of-00002.parquet" and the like, or from split folders; other files are
    "test". Class names come from the schema that the data sets library writes. Other columns are read as in
    ``read_metadata_folder``.

    Args:
        root: a .parquet file, a folder of them, or a folder that holds them in "data".

    Returns:
        Splits with the columns "label", "captions" and "boxes" that the files allow. Pictures are read
        where they lie, a row group at a time.

    Raises:
        UsageError: no Parquet file there.
        DataError: no column of pictures, a damaged file, or a value that is not what its column says.
    """
    import pyarrow.parquet as pq

    base = Path(root)
    files = [base] if base.is_file() else _parquet_files(base)
    if not files:
        raise UsageError(f"{root} holds no .parquet files: give the folder of a data set that holds its pictures.")
    grouped: dict[str, list[Path]] = {}
    for file in files:
        grouped.setdefault(_split_of(file), []).append(file)
    names: dict[str, tuple[str, ...]] = {}
    parts: dict[str, tuple[Samples[Any], dict[str, list[Any]]]] = {}
    for split, group in grouped.items():
        cells: dict[str, list[Any]] = {}
        sources = []
        for file in group:
            try:
                schema = pq.read_schema(file)
                column = image_column(schema)
                if column is None:
                    raise DataError(
                        f"{file} has no column of pictures, only {', '.join(schema.names)[:200]}: use read_table for "
                        f"paths."
                    )
                sources.append((str(file), column))
                names |= class_names(schema)
            except (OSError, ValueError) as error:
                refuse(file, error)
            wanted = {"label", "objects", *columns_of(schema.names, CAPTION_COLUMNS)} - {column}
            for name, values in read_columns(file, wanted.__contains__).items():
                cells.setdefault(name, []).extend(values)
        parts[split] = (parquet_images(sources), cells)
    return _data(base.resolve().stem, parts, names)


def _data(
    name: str, parts: Mapping[str, tuple[Samples[Any], dict[str, list[Any]]]], names: Mapping[str, tuple[str, ...]]
) -> LabelledData:
    """Make typed columns of what the metadata hold; one class order for all splits."""
    labels = {text_of(v) for _, cells in parts.values() for v in cells.get("label", ())}
    classes = names.get("label") or in_order(labels)
    objects = {
        split: [_objects(o, name) for o in cells["objects"]]
        for split, (_, cells) in parts.items()
        if "objects" in cells
    }
    categories = in_order({text_of(c) for held in objects.values() for _, named in held for c in named})
    splits = {}
    for split in (s for s in SPLITS if s in parts):
        items, cells = parts[split]
        columns: dict[str, Column] = {}
        if "label" in cells:
            columns["label"] = Column(
                "label", np.array([_position(v, classes, name) for v in cells["label"]], dtype=np.int64)
            )
        if said := [cells[c] for c in columns_of(cells, CAPTION_COLUMNS)]:
            texts = tuple(tuple(t for cell in row for t in texts_of(cell)) for row in zip(*said, strict=True))
            columns["captions"] = Column("captions", texts)
        if split in objects:
            columns["boxes"] = Column(
                "boxes", tuple(_boxes(corners, named, categories, name) for corners, named in objects[split])
            )
        splits[split] = Table(items, columns)
    return LabelledData(name, classes or categories, splits)


def _position(value: Any, classes: Sequence[str], name: str) -> int:
    """Return the class position of a label: a number where the file writes numbers for named classes, else the name's
    place.
    """
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and str(value) not in classes
        and 0 <= value < len(classes)
    ):
        return value
    if text_of(value) == "" or text_of(value) not in classes:
        raise DataError(f"{name} holds the label {value!r}, which is none of its {len(classes)} classes: correct it.")
    return list(classes).index(text_of(value))


def _boxes(corners: list[Any], named: list[Any], categories: Sequence[str], name: str) -> Boxes:
    if named and len(named) != len(corners):
        raise DataError(f"{name} holds {len(corners)} boxes with {len(named)} categories: give one a box.")
    return boxes(corners, "xywh", [_position(c, categories, name) for c in named] or [-1] * len(corners))


def _objects(value: Any, name: str) -> tuple[list[Any], list[Any]]:
    """Return (boxes, categories) of a cell, which is an object, its JSON text, or empty."""
    try:
        cell = json.loads(value) if isinstance(value, str) and value else value or {}
        return list(cell.get("bbox") or ()), list(cell.get("categories") or cell.get("category") or ())
    except (AttributeError, TypeError, ValueError, RecursionError):
        raise DataError(
            f'{name} holds objects that are not {{"bbox": [[x, y, w, h], ...], "categories": [...]}}: correct them.'
        ) from None


def metadata_files(root: Path) -> dict[str, Path]:
    """Return split -> metadata file; those of split folders count before one directly in the folder."""
    found: dict[str, Path] = {}
    if not root.is_dir():
        return found
    for place in sorted(root.iterdir()):
        split = SPLIT_NAMES.get(place.name.lower())
        file = next((place / m for m in _METADATA if (place / m).is_file()), None) if split else None
        if split and file and _names_files(file):
            found[split] = file
    top = next((root / m for m in _METADATA if (root / m).is_file()), None)
    return found or ({"test": top} if top and _names_files(top) else {})


def _names_files(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8-sig") as lines:
            return "file_name" in lines.readline(2**16)
    except (OSError, UnicodeDecodeError):
        return False


def _parquet_files(root: Path) -> list[Path]:
    places = [root / "data", root, *(root / s for s in sorted(SPLIT_NAMES))]
    return next((found for p in places[:2] if (found := sorted(p.glob("*.parquet")))), None) or [
        f for p in places[2:] for f in sorted(p.glob("*.parquet"))
    ]


def _split_of(file: Path) -> str:
    return (
        SPLIT_NAMES.get(file.name.split("-")[0].split(".")[0].lower())
        or SPLIT_NAMES.get(file.parent.name.lower())
        or "test"
    )


def _holds_parquet(path: Path, ask: Ask) -> bool:
    if path.is_dir():
        return is_parquet_folder(path)
    return path.suffix.lower() == ".parquet" and holds_images(path)


METADATA = Format(
    "", lambda path, ask: is_metadata_folder(path), lambda path, ask: read_metadata_folder(path, ask.keys)
)
PARQUET = Format("", _holds_parquet, lambda path, ask: read_parquet_folder(path))
