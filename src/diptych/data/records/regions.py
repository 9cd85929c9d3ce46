"""Regions of photos as records for an index: their phrases are the texts, photo and box are facts."""

from __future__ import annotations

import os
from typing import Any

from diptych.data.records.records import Records
from diptych.data.region_items import Regions


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
