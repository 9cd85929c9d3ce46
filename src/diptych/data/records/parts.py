"""Records as samples of one modality, of boxes of photos, and by the source that they come from."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import Any

from diptych.core import Samples, UsageError
from diptych.data.named_sets import located
from diptych.data.records.records import Records, pictures_column
from diptych.data.region_items import Regions
from diptych.data.rows import PATH_COLUMNS, SUFFIXES, columns_of, header


@dataclass(frozen=True)
class RecordPart:
    """The pictures, or the texts, of the records that have one, as samples.

    Args:
        records: N records.
        what: "image" or "text".
    """

    records: Samples[Any]
    what: str
    rows: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        r = self.records
        if not isinstance(r, Records):
            raise UsageError(
                f"Linkage takes records, not {type(r).__name__}: open them with diptych.data.load.open_records."
            )
        values = r.places if self.what == "image" else r.texts
        object.__setattr__(self, "rows", tuple(i for i, v in enumerate(values) if v is not None))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> Any:
        record = self.rows[index]
        assert isinstance(self.records, Records)
        return (
            self.records.images[self.records.places[record] or 0]
            if self.what == "image"
            else self.records.texts[record]
        )

    def key(self, index: int, /) -> str:
        """Return the content key of the picture or text."""
        record = self.rows[index]
        assert isinstance(self.records, Records)
        if self.what == "image":
            return self.records.images.key(self.records.places[record] or 0)
        return hashlib.sha256((self.records.texts[record] or "").encode()).hexdigest()

    def name(self, index: int, /) -> str:
        """Return the name of the record for users."""
        return self.records.name(self.rows[index])


def region_records(regions: Regions) -> Records:
    """Return regions as records, named by the absolute path of the photo and the box: "/photos/a.jpg[10,20,30,40]".

    Facts are "photo", and in pixels "x0", "y0", "x1" and "y1" and the width "w" and height "h".
    """
    images: Any = regions
    count = range(len(regions))
    photos = [os.path.abspath(regions.images.name(regions.owner[i])) for i in count]
    corners = regions.corners.astype(float).tolist()
    facts = [
        {"photo": photo, "x0": x0, "y0": y0, "x1": x1, "y1": y1, "w": x1 - x0, "h": y1 - y0}
        for photo, (x0, y0, x1, y1) in zip(photos, corners, strict=True)
    ]
    names = tuple(
        photo + regions.name(i).removeprefix(regions.images.name(regions.owner[i])) for i, photo in enumerate(photos)
    )
    return Records(names, images, tuple(count), regions.phrases, tuple(facts))


def root(spec: str, image: str | None = None) -> str:
    """Return the path with which the names of all present and past records of a source begin.

    Args:
        spec: as for ``open_records``, or clips.
        image: column of a table with the picture's path, as for ``open_records``.

    Raises:
        UsageError: the source is a table of pictures, whose records have the paths of the pictures as names.
    """
    path = located(spec)
    kind = path.suffix.lower()
    holds = kind == ".parquet" and image is None and pictures_column(path) is not None
    table = path.is_file() and kind in (*SUFFIXES, ".jsonl") and not holds
    if table and (image is not None or columns_of(header(path), PATH_COLUMNS)):
        raise UsageError(
            f"{{prune}} cannot tell which pictures {spec} no longer names, since entries of a table are called by "
            f"their pictures: delete them with {{remove}}, or index again in a new folder."
        )
    return os.path.abspath(path)
