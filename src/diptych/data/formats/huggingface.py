"""Hugging Face data set folders: pictures with metadata.csv or .jsonl, and Parquet files with encoded pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diptych.core import Column, DataError, Samples, Table, UsageError
from diptych.core.wording import columns_there
from diptych.data.folders import ImageFiles, image_files
from diptych.data.format import Format, Request
from diptych.data.formats.parquet import class_names, holds_images, image_column, parquet_images, schema_of
from diptych.data.formats.regions import Boxes, boxes
from diptych.data.formats.weighted import CAPTION_WEIGHTS, caption_columns
from diptych.data.inside import inside
from diptych.data.keys import FileKeys
from diptych.data.labelled import SPLIT_NAMES, SPLITS, LabelledData
from diptych.data.rows import CAPTION_COLUMNS, columns_of, header, in_order, read_columns, text_of
from diptych.data.skipped import report_unnamed

_METADATA = ("metadata.csv", "metadata.jsonl")


def is_metadata_folder(root: Path) -> bool:
    """Return whether a folder, or a split folder in it, has a metadata file with a column file_name."""
    return bool(metadata_files(root))


def is_parquet_folder(root: Path) -> bool:
    """Return whether a folder, or "data" in it, has Parquet files with encoded pictures."""
    files = _parquet_files(root)
    return bool(files) and holds_images(files[0])


def read_metadata_folder(root: str | os.PathLike[str], keys: FileKeys | None = None) -> LabelledData:
    """Read the pictures in a metadata.csv or metadata.jsonl, of ``root`` or of its split folders; other pictures are
    not read.

    Columns are file_name, with paths relative to the metadata's folder, and optionally label, captions
    (``data.rows.CAPTION_COLUMNS``) and objects ({"bbox": x y w h in pixels, "categories"}).

    Returns:
        Splits with the columns "label", "captions" and "boxes" where the metadata have them. Without split folders all
        rows are "test".

    Raises:
        UsageError: there is no metadata file.
        DataError: no column file_name, a path that leads outside, or a value that does not fit its column.
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
        paths = [inside(file.parent, str(p or ""), f"Row {i} of {file}") for i, p in enumerate(cells["file_name"], 1)]
        parts[split] = (ImageFiles(paths, keys), cells)
    report_unnamed(
        root, image_files(root), (images.name(i) for images, _ in parts.values() for i in range(len(images)))
    )
    return _data(Path(root).resolve().name, parts, {})


def read_parquet_folder(root: str | os.PathLike[str]) -> LabelledData:
    """Read Parquet files with pictures in a column of {bytes, path} structs or of bytes.

    - The column has the name image, img, jpg or png, or is the only one of its kind.
    - Splits come from names such as "train-00000-of-00002.parquet", or from split folders; other files are "test".
    - Class names come from the schema of the datasets library.
    - Other columns are read as in ``read_metadata_folder``.

    Args:
        root: a .parquet file, a folder of them, or a folder with them in "data".

    Returns:
        Splits with the columns "label", "captions" and "boxes" where the files have them. Pictures are read on demand,
        a row group at a time.

    Raises:
        UsageError: no Parquet file there.
        DataError: no column of pictures, a damaged file, or a value that does not fit its column.
    """
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
            schema = schema_of(file)
            column = image_column(schema)
            if column is None:
                raise DataError(
                    f"{file} has no column of pictures, only {columns_there(schema.names)}: use read_table for paths."
                )
            sources.append((str(file), column))
            names |= class_names(schema)
            wanted = {"label", "objects", *columns_of(schema.names, CAPTION_COLUMNS), *CAPTION_WEIGHTS} - {column}
            for name, values in read_columns(file, wanted.__contains__).items():
                cells.setdefault(name, []).extend(values)
        parts[split] = (parquet_images(sources), cells)
    return _data(base.resolve().stem, parts, names)


def _data(
    name: str, parts: Mapping[str, tuple[Samples[Any], dict[str, list[Any]]]], names: Mapping[str, tuple[str, ...]]
) -> LabelledData:
    """Return the typed columns of metadata, with one order of classes for all splits."""
    labels = {text_of(v) for _, cells in parts.values() for v in cells.get("label", ())}
    classes = names.get("label") or in_order(labels)
    objects = {
        split: [_objects(o, name) for o in cells["objects"]]
        for split, (_, cells) in parts.items()
        if "objects" in cells
    }
    categories = in_order({text_of(c) for rows in objects.values() for _, named in rows for c in named})
    splits = {}
    for split in (s for s in SPLITS if s in parts):
        items, cells = parts[split]
        columns: dict[str, Column] = {}
        if "label" in cells:
            columns["label"] = Column(
                "label", np.array([_position(v, classes, name) for v in cells["label"]], dtype=np.int64)
            )
        columns |= caption_columns(cells, range(len(items)), name)
        if split in objects:
            columns["boxes"] = Column(
                "boxes", tuple(_boxes(corners, named, categories, name) for corners, named in objects[split])
            )
        splits[split] = Table(items, columns)
    return LabelledData(name, classes or categories, splits)


def _position(value: Any, classes: Sequence[str], name: str) -> int:
    """Return the class position of a label, which is a name, or a number where the file numbers named classes."""
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
        raise DataError(f"{name} holds {len(corners)} boxes with {len(named)} categories: give one per box.")
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


def metadata_files(root: Path, columns: Sequence[str] = ("file_name",)) -> dict[str, Path]:
    """Return split -> metadata file with one of some columns, of the split folders, or else of the folder itself."""
    files: dict[str, Path] = {}
    if not root.is_dir():
        return files
    for folder in sorted(root.iterdir()):
        split = SPLIT_NAMES.get(folder.name.lower())
        file = next((folder / m for m in _METADATA if (folder / m).is_file()), None) if split else None
        if split and file and _has_column(file, columns):
            files[split] = file
    top = next((root / m for m in _METADATA if (root / m).is_file()), None)
    return files or ({"test": top} if top and _has_column(top, columns) else {})


def _has_column(file: Path, columns: Sequence[str]) -> bool:
    """Return whether the first line of a table names one of some columns."""
    try:
        return bool(columns_of(header(file), columns))
    except (OSError, DataError):
        return False


def _parquet_files(root: Path) -> list[Path]:
    folders = [root / "data", root, *(root / s for s in sorted(SPLIT_NAMES))]
    return next((files for p in folders[:2] if (files := sorted(p.glob("*.parquet")))), None) or [
        f for p in folders[2:] for f in sorted(p.glob("*.parquet"))
    ]


def _split_of(file: Path) -> str:
    return (
        SPLIT_NAMES.get(file.name.split("-")[0].split(".")[0].lower())
        or SPLIT_NAMES.get(file.parent.name.lower())
        or "test"
    )


def _holds_parquet(path: Path, request: Request) -> bool:
    if path.is_dir():
        return is_parquet_folder(path)
    return path.is_file() and path.suffix.lower() == ".parquet" and holds_images(path)


METADATA = Format(
    "", lambda path, request: is_metadata_folder(path), lambda path, request: read_metadata_folder(path, request.keys)
)
PARQUET = Format("", _holds_parquet, lambda path, request: read_parquet_folder(path))
