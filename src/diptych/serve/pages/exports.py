"""What the page lets a person take along: answers as CSV and in COCO's form, and folders as zip files."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping
from typing import Any

from diptych.core import UnreadableItem
from diptych.serve.pages.tiles import Contents
from diptych.tasks.search.entry_picture import picture_size


def as_csv(results: Contents) -> str:
    """Return a line an answer: path, score, probability that it is right, caption, and what was marked."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["path", "score", "right", "caption", "marked"])
    for tile in results.tiles:
        share = "" if tile.right is None else f"{tile.right:.4f}"
        marked = "" if tile.marked is None else int(tile.marked)
        writer.writerow([_cell(tile.path), f"{tile.score:.6f}", share, _cell(tile.caption), marked])
    return text.getvalue()


def as_coco(results: Contents, query: str) -> dict[str, Any]:
    """Return answers in the form of COCO's instances, for tools that read it.

    The query is the only category. COCO has no labels of whole pictures, so that the box of an annotation is the whole
    picture. Answers that were marked wrong are pictures without an annotation. ``score`` and ``marked`` are fields
    beside COCO's. Pictures that are gone are left out, and counted in ``info``.
    """
    images, annotations, gone = list[dict[str, Any]](), list[dict[str, Any]](), 0
    for tile in results.tiles:
        try:
            width, height = picture_size(tile.path)
        except UnreadableItem:
            gone += 1
            continue
        images.append({"id": tile.number, "file_name": tile.path, "width": width, "height": height})
        if tile.marked is not False:
            annotations.append(
                {"id": len(annotations) + 1, "image_id": tile.number, "category_id": 1, "iscrowd": 0,
                 "bbox": [0, 0, width, height], "area": width * height, "score": round(tile.score, 6),
                 "marked": tile.marked}
            )  # fmt: skip
    info = {"description": f"Answers of diptych to {query!r}: boxes are whole pictures", "unreadable": gone}
    return {"info": info, "images": images, "annotations": annotations, "categories": [{"id": 1, "name": query}]}


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return files as a zip."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return held.getvalue()


def _cell(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
