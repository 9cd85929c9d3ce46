"""COCO's panoptic format: a JSON of segments, and a PNG a picture whose colours are their numbers.

    id = R + 256 G + 256^2 B

R, G, B: bytes of a pixel;  id: the number of its segment, 0 where there is none
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import Column, DataError, Table, UsageError
from diptych.data.folders import ImageFiles
from diptych.data.formats.coco import load_json
from diptych.data.formats.regions import Masks
from diptych.data.images import open_image
from diptych.data.inside import inside
from diptych.data.keys import FileKeys
from diptych.data.labelled import SPLITS, LabelledData

IGNORE = 255
"""Class of pixels that do not count: those without a segment, and crowds."""


def ids_of(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return (H, W) int32 numbers of segments of (H, W, 3) bytes."""
    wide = rgb.astype(np.int32)
    return wide[..., 0] + 256 * wide[..., 1] + 65536 * wide[..., 2]


def rgb_of(ids: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """Return (H, W, 3) bytes of (H, W) numbers of segments below 2^24."""
    wide = ids.astype(np.int64)
    return np.stack([wide % 256, wide // 256 % 256, wide // 65536 % 256], axis=-1).astype(np.uint8)


def read_panoptic(
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str],
    masks: str | os.PathLike[str] | None = None,
    split: str = "test",
    keys: FileKeys | None = None,
) -> LabelledData:
    """Read COCO panoptic annotations.

    Args:
        annotations: a .json with "images", "annotations" (file_name, segments_info) and "categories" (id, name,
            isthing).
        images: folder of the pictures.
        masks: folder of the PNGs; None: the one named like the JSON without its ending, as COCO has it.
        split: name of the split: "train", "val" or "test".
        keys: cache of content keys.

    Returns:
        One split. Classes are in ascending order of their ids, without gaps, and ``things`` marks those that are
        counted. Columns: "panoptic", (H, W, 2) int32 class positions and numbers of segments, and "mask", (H, W) uint8
        class positions; 255 where there is no segment, or a crowd.

    Raises:
        UsageError: no such file or folder, or an unknown split.
        DataError: the file is no panoptic JSON, or a PNG has a segment that the JSON does not list (when it is read).
    """
    folder = Path(annotations).with_suffix("") if masks is None else Path(masks)
    if split not in SPLITS:
        raise UsageError(f"{split!r} is no split: choose train, val or test.")
    for place, what in ((Path(images), "pictures"), (folder, "PNGs of the segments")):
        if not place.is_dir():
            raise UsageError(f"There is no folder {place}: give the folder that holds the {what}.")
    facts = load_json(annotations)
    try:
        listed = sorted((int(c["id"]), str(c["name"]), bool(c.get("isthing", True))) for c in facts["categories"])
        position = {i: k for k, (i, _, _) in enumerate(listed)}
        if not 0 < len(listed) <= IGNORE:
            raise DataError(f"{annotations} lists {len(listed)} categories: 1 to {IGNORE} can be read.")
        names = {int(e["id"]): str(e["file_name"]) for e in facts["images"]}
        paths, sources = [], []
        for n, entry in enumerate(facts["annotations"]):
            paths.append(inside(images, names[int(entry["image_id"])], f"Picture {n} of {annotations}"))
            png = inside(folder, str(entry["file_name"]), f"PNG {n} of {annotations}")
            rows = [
                (int(s["id"]), IGNORE if s.get("iscrowd") else position[int(s["category_id"])])
                for s in entry["segments_info"]
            ]
            sources.append((png, tuple(rows)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{annotations} is no panoptic annotation file ({type(error).__name__}: {str(error)[:80]}): check its "
            f"fields."
        ) from None
    columns = {
        "panoptic": Column("panoptic", Masks(tuple(sources), _segments)),
        "mask": Column("mask", Masks(tuple(sources), _classes)),
    }
    return LabelledData(
        Path(annotations).stem,
        tuple(name for _, name, _ in listed),
        {split: Table(ImageFiles(paths, keys), columns)},
        things=tuple(thing for _, _, thing in listed),
    )


def _segments(source: tuple[str, tuple[tuple[int, int], ...]]) -> NDArray[np.int32]:
    path, rows = source
    ids = ids_of(np.asarray(open_image(path)))
    known = {0: IGNORE, **dict(rows)}
    numbers, at = np.unique(ids, return_inverse=True)
    unknown = [int(i) for i in numbers if int(i) not in known]
    if unknown:
        raise DataError(
            f"{path} has segment {unknown[0]}, which the JSON does not list: check that both belong together."
        )
    classes = np.array([known[int(i)] for i in numbers], dtype=np.int32)[at.reshape(ids.shape)]
    return np.stack([classes, ids], axis=-1)


def _classes(source: tuple[str, tuple[tuple[int, int], ...]]) -> NDArray[np.uint8]:
    return _segments(source)[..., 0].astype(np.uint8)
