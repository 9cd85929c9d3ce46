"""Winoground as it is published: two pictures and two captions of the same words in another order.

The folder holds examples.jsonl and the folder images, or both in a folder data. A line names image_0, image_1 (with or
without ".png"), caption_0, caption_1 and collapsed_tag ("Object", "Relation" or "Both").
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from diptych.core import Column, DataError, Table
from diptych.core.wording import columns_there
from diptych.data.folders import ImageFiles
from diptych.data.inside import inside
from diptych.data.keys import FileKeys
from diptych.data.named_sets import located
from diptych.data.rows import filled, read_columns

LISTING, IMAGES, TAG = "examples.jsonl", "images", "collapsed_tag"


def _home(folder: str | os.PathLike[str]) -> Path:
    path = located(folder)
    return path / "data" if (path / "data" / LISTING).is_file() else path


def is_winoground(folder: str | os.PathLike[str]) -> bool:
    """Return whether a folder has the layout."""
    home = _home(folder)
    return (home / LISTING).is_file() and (home / IMAGES).is_dir()


def read_winoground(folder: str | os.PathLike[str], keys: FileKeys | None = None) -> Table[Any]:
    """Read the pairs of a folder with examples.jsonl and images; a name in the folder of DIPTYCH_DATA becomes the path
    there.

    Returns:
        2 P pictures with the columns "group" ("pair 1" and so on), "captions" and, where there are tags, "pattern", a
        group column.

    Raises:
        DataError: a file, a column or a cell is missing, or a path leads outside.
    """
    home = _home(folder)
    listing = home / LISTING
    if not is_winoground(folder):
        raise DataError(f"{home} has no {LISTING} beside '{IMAGES}': give the folder of Winoground.")
    cells = read_columns(listing)
    sides: dict[str, list[str]] = {}
    for name in ("image_0", "image_1", "caption_0", "caption_1"):
        if name not in cells:
            raise DataError(f"{listing} has no {name!r}, only {columns_there(cells)}: give the published file.")
        sides[name] = filled(listing, name, cells[name])
    files, captions = [], []
    for i in range(len(sides["image_0"])):
        for side in "01":
            name = sides[f"image_{side}"][i]
            file = name if Path(name).suffix else f"{name}.png"
            files.append(inside(home / IMAGES, file, f"Row {i + 1} of {listing}"))
            captions.append((sides[f"caption_{side}"][i],))
    columns = {
        "group": Column("group", tuple(f"pair {i // 2 + 1}" for i in range(len(files)))),
        "captions": Column("captions", tuple(captions)),
    }
    if TAG in cells:
        tags = filled(listing, TAG, cells[TAG])
        columns["pattern"] = Column("group", tuple(tag for tag in tags for _ in "01"))
    return Table(ImageFiles(files, keys), columns)
