"""COCO's annotation files: captions, boxes and instance masks of pictures in a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import Column, DataError, Table, UsageError
from diptych.data.folders import ImageFiles
from diptych.data.formats.regions import Boxes, Masks, boxes
from diptych.data.formats.rle import segmentation_mask
from diptych.data.inside import inside
from diptych.data.keys import FileKeys
from diptych.data.labelled import SPLITS, LabelledData

MAX_BYTES = 2 * 2**30
"""Largest annotation file; instances_train2017.json has 0.45 GB."""


def read_coco(
    annotations: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    images: str | os.PathLike[str],
    split: str = "test",
    keys: FileKeys | None = None,
) -> LabelledData:
    """Read COCO annotations. Several files of the same pictures become columns of one table.

    Args:
        annotations: one or several .json files with "images", "annotations" and, for instances, "categories".
        images: folder of the "file_name" paths.
        split: name of the split: "train", "val" or "test".
        keys: cache of content keys.

    Returns:
        One split, with the pictures in the order of the first file and these columns, where the files have them:

        - "captions": texts of each picture, maybe none.
        - "boxes": ``Boxes`` with corners x0 y0 x1 y1 in pixels. Classes are in ascending order of COCO's ids, without
          their gaps.
        - "mask": (n, H, W) bool, one mask per box, read on demand.

    Raises:
        UsageError: no such file or folder, or an unknown split.
        DataError: a file is no COCO JSON, or an annotation belongs to no picture or no category.
    """
    if split not in SPLITS:
        raise UsageError(f"{split!r} is no split: choose train, val or test.")
    if not Path(images).is_dir():
        raise UsageError(f"There is no folder {images}: give the folder that holds the pictures.")
    files = [annotations] if isinstance(annotations, (str, os.PathLike)) else list(annotations)
    parts = [(str(f), load_json(f)) for f in files]
    if not parts:
        raise UsageError("No annotation file: give at least one.")
    try:
        order = {int(entry["id"]): entry for entry in parts[0][1]["images"]}
        paths = [inside(images, str(e["file_name"]), f"Picture {i} of {files[0]}") for i, e in order.items()]
        columns: dict[str, Column] = {}
        classes: tuple[str, ...] = ()
        for name, part in parts:
            entries_of: dict[int, list[dict[str, Any]]] = {i: [] for i in order}
            for entry in part["annotations"]:
                if int(entry["image_id"]) not in entries_of:
                    raise DataError(
                        f"{name} has an annotation of picture {entry['image_id']}, which {files[0]} does not list: "
                        f"leave it out."
                    )
                entries_of[int(entry["image_id"])].append(entry)
            if part.get("categories"):
                classes = _instances(name, part["categories"], entries_of, order, columns)
            else:
                columns["captions"] = Column(
                    "captions", tuple(tuple(str(a["caption"]).strip() for a in entries_of[i]) for i in order)
                )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{files[0]} is no COCO annotation file ({type(error).__name__}: {str(error)[:80]}): check its fields."
        ) from None
    return LabelledData(Path(files[0]).stem, classes, {split: Table(ImageFiles(paths, keys), columns)})


def _instances(
    name: str,
    categories: list[dict[str, Any]],
    entries_of: dict[int, list[dict[str, Any]]],
    order: dict[int, dict[str, Any]],
    columns: dict[str, Column],
) -> tuple[str, ...]:
    """Add the columns "boxes" and, where all boxes have one, "mask"; return the classes."""
    by_id = sorted((int(c["id"]), str(c["name"])) for c in categories)
    position = {i: k for k, (i, _) in enumerate(by_id)}
    if unknown := next(
        (a for entries in entries_of.values() for a in entries if int(a["category_id"]) not in position), None
    ):
        raise DataError(
            f"{name} has an annotation of category {unknown['category_id']}, which it does not list: add the category."
        )
    columns["boxes"] = Column("boxes", tuple(_boxes(entries_of[i], position) for i in order))
    if all(a.get("segmentation") is not None for entries in entries_of.values() for a in entries):
        sizes = [(int(e["height"]), int(e["width"])) for e in order.values()]
        sources = tuple(
            (h, w, tuple(a["segmentation"] for a in entries_of[i])) for i, (h, w) in zip(order, sizes, strict=True)
        )
        columns["mask"] = Column("mask", Masks(sources, _instance_masks))
    return tuple(c for _, c in by_id)


def _boxes(entries: list[dict[str, Any]], position: dict[int, int]) -> Boxes:
    return boxes(
        [a["bbox"] for a in entries],
        "xywh",
        [position[int(a["category_id"])] for a in entries],
        [bool(a.get("iscrowd")) for a in entries],
    )


def _instance_masks(source: tuple[int, int, tuple[Any, ...]]) -> NDArray[np.bool_]:
    height, width, segmentations = source
    masks = [segmentation_mask(s, height, width) for s in segmentations]
    return np.stack(masks) if masks else np.zeros((0, height, width), dtype=bool)


def load_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the JSON object of an annotation file.

    Raises:
        UsageError: there is no such file.
        DataError: it is too large, no JSON, or no object.
    """
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"There is no file {file} with COCO annotations: check the spelling.")
    if file.stat().st_size > MAX_BYTES:
        raise DataError(
            f"{file} has more than {MAX_BYTES // 2**30} GiB, too much for annotations: is it the right file?"
        )
    try:
        value = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not valid JSON ({str(error)[:80]}): fetch it again.") from None
    if not isinstance(value, dict):
        raise DataError(f"{file} is no COCO annotation file: its top must be an object.")
    return value
