"""The picture of an entry of an index."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from diptych.core import DiptychError, UnreadableItem
from diptych.data.files import address_of
from diptych.data.images import SUFFIXES, image_size, open_image
from diptych.data.region_items import Region

BOX = re.compile(r"\[(-?[\d.]+),(-?[\d.]+),(-?[\d.]+),(-?[\d.]+)\]$")
"""Ends the name of a region, see ``data.region_items``."""


def picture(name: str) -> Image.Image:
    """Return the picture of an entry, from its file, from a tar ("photos.tar!a/1.jpg"), from a Parquet row
    ("photos.parquet[7]"), or the region of one ("a.jpg[10,20,30,40]").

    Raises:
        UnreadableItem: it is gone or cannot be read, or the name is an address: a name may come from another's table,
            and leads nowhere but to files.
    """
    if address_of(name):
        raise UnreadableItem(name, "is an address, which is not fetched")
    if box := BOX.search(name):
        corners = np.array([float(v) for v in box.groups()], dtype=np.float32)
        return Region(picture(name[: box.start()]), corners).crop()
    if _is_file(name):
        return open_image(Path(name))
    from diptych.data.load import open_records

    container = name.partition("!")[0] if "!" in name else name.rpartition("[")[0]
    try:
        records = open_records(container)
        place = records.places[records.names.index(name)]
    except (ValueError, DiptychError):
        place = None
    if place is None:
        raise UnreadableItem(name, "has no picture, or is gone")
    return records.images[place]


def picture_size(name: str) -> tuple[int, int]:
    """Return (width, height) of the picture of an entry; of a JPEG file only the header is read.

    Raises:
        UnreadableItem: as ``picture``.
    """
    if address_of(name) or BOX.search(name) or not _is_file(name):
        return picture(name).size
    return image_size(name)


def _is_file(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES and "!" not in name
