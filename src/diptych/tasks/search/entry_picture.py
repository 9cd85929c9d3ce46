"""The picture of an entry of an index."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from diptych.core.errors import DiptychError, UnreadableItem
from diptych.data.images import SUFFIXES, open_image


def picture(name: str) -> Image.Image:
    """Return the picture of an entry, from its file, from a tar ("photos.tar!a/1.jpg") or from a Parquet row
    ("photos.parquet[7]").

    Raises:
        UnreadableItem: it is gone or cannot be read.
    """
    if Path(name).suffix.lower() in SUFFIXES and "!" not in name:
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
