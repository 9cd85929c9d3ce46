"""Pictures with captions: a table, or a folder with captions.csv. Pictures and captions may repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diptych.core import Column, DataError, Samples
from diptych.data.folders import ImageFiles
from diptych.data.format import Format, Request
from diptych.data.formats.taught import taught_columns
from diptych.data.formats.typed import Typed, read_typed
from diptych.data.formats.weighted import caption_columns
from diptych.data.inside import all_inside
from diptych.data.keys import FileKeys
from diptych.data.labelled import SPLIT_NAMES, LabelledData
from diptych.data.rows import (
    CAPTION_COLUMNS,
    PATH_COLUMNS,
    SUFFIXES,
    USER_COLUMNS,
    chosen_column,
    columns_of,
    filled,
    header,
    read_columns,
    text_of,
)


def captions_table(path: Path) -> Path:
    """Return the captions.csv of a folder that has one; else the path."""
    return path / "captions.csv" if (path / "captions.csv").is_file() else path


def read_captioned(
    path: Path, image: str = "", text: str = "", keys: FileKeys | None = None, shares: Sequence[float] = ()
) -> LabelledData:
    """Read pictures with the column "captions"; a row may have none.

    Columns of ``SYNTHETIC_COLUMNS`` become "synthetic", and weights of either "captions_weights" and
    "synthetic_weights". Vectors of teachers become ``taught.OF_IMAGE`` and ``taught.OF_TEXTS``. One of
    ``USER_COLUMNS`` becomes "user", where every row has one.

    Args:
        path: .csv, .tsv, .jsonl, .json or .parquet; relative paths of pictures start at its folder.
        image: column with the picture; "" uses the usual names.
        text: column with the caption or a list of captions, a pattern such as "caption_*" for several, or names with
            commas between them; "" uses the usual names.
        keys: cache of content keys.
        shares: weight of each of these columns; (): there are none.

    Raises:
        UsageError: the file or a column does not exist.
        DataError: the table is damaged or empty, a row has no picture, weights or vectors that do not fit its captions,
            or a path leads outside.
    """
    cells = read_columns(path)
    items = chosen_column(path, cells, PATH_COLUMNS, image, "the pictures ({image})")
    chosen_column(path, cells, CAPTION_COLUMNS, text, "the captions ({text})")
    pattern = text or next(p for p in CAPTION_COLUMNS if columns_of(cells, (p,)))
    if not filled(path, items, cells[items]):
        raise DataError(f"{path} has no rows: give one picture per row.")

    def opened(folder: str, paths: Sequence[str]) -> Samples[Any]:
        return ImageFiles(all_inside(folder, paths), keys)

    typed: dict[str, Typed] = {}
    named = columns_of(cells, USER_COLUMNS)
    if named and all(text_of(v) for v in cells[named[0]]):
        typed["user"] = Typed("user", named[0])

    def texts(rows: Sequence[int]) -> dict[str, Column]:
        columns = caption_columns(cells, rows, path, given=pattern, shares=shares)
        columns |= caption_columns(cells, rows, path, "synthetic")
        return columns | taught_columns(cells, rows, path, columns)

    return read_typed(path, typed, items, opened, texts)


def _read(path: Path, request: Request) -> LabelledData:
    table = captions_table(path)
    data = read_captioned(table, request.image, request.text, request.keys, request.shares)
    for split in data.splits.values() if request.need == "captions" and not request.empty else ():
        if empty := [i for i, captions in enumerate(split.columns["captions"].values) if not captions]:
            raise DataError(
                f"{split.items.name(empty[0])} has no caption in {request.text or table.name}: fill it, or remove the "
                "row."
            )
    return replace(data, name=path.name) if path.is_dir() else data


def _matches(path: Path, request: Request) -> bool:
    table = captions_table(path)
    if not table.is_file() or table.suffix.lower() not in (*SUFFIXES, ".jsonl", ".json"):
        return False
    if request.need == "captions" and table.suffix.lower() != ".json":
        return True
    split = path.is_dir() and any(p.name.lower() in SPLIT_NAMES for p in path.iterdir())
    return not split and bool(request.text or columns_of(header(table), CAPTION_COLUMNS))


CAPTIONED = Format(
    "a table with captions, or a folder with captions.csv", _matches, _read,
    frozenset(("captions", "captions or classes")),
)  # fmt: skip
