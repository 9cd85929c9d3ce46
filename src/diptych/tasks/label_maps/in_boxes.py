"""A segmented photo within boxes: each box becomes one object of the class that most of its pixels have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from diptych.core.void import Labels, as_map
from diptych.nn.dense.segments import Panoptic, Segment
from diptych.tasks.label_maps.segmented import BACKGROUND, Segmented


def in_boxes(item: Segmented, corners: NDArray[np.float32], phrases: Sequence[str]) -> Segmented:
    """Return what lies in boxes of a photo: pixels outside all of them are unknown, and each box is one object.

    The class of a box is the one that its phrase names ("dog", "a dog"), or else the most frequent one of its pixels,
    background left out where there is another. Its object is the pixels of that class in the box; where boxes overlap,
    the smaller one has them. A box without such a pixel is left out.

    Args:
        item: the photo.
        corners: (n, 4) x0 y0 x1 y1 in pixels.
        phrases: (n,) what each box shows.
    """
    ids = np.zeros(item.labels.shape, dtype=np.int32)
    inside = np.zeros(item.labels.shape, dtype=bool)
    rows: list[tuple[int, tuple[int, int, int, int]]] = []
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    for k in np.argsort(-areas, kind="stable"):
        x0, y0 = np.floor(corners[k, :2]).clip(0).astype(int).tolist()
        x1, y1 = np.ceil(corners[k, 2:]).astype(int).tolist()
        place = np.s_[y0:y1, x0:x1]
        inside[place] = True
        label = _class(item, item.labels[place], phrases[k])
        if label is not None:
            rows.append((label, (x0, y0, min(x1, item.image.width) - x0, min(y1, item.image.height) - y0)))
            ids[place][item.labels[place] == label] = len(rows)
    segments = [_segment(item, ids, i, label, box) for i, (label, box) in enumerate(rows, start=1) if (ids == i).any()]
    labels = as_map(np.where(inside, item.labels, item.void), len(item.classes))
    return replace(item, labels=labels, panoptic=Panoptic(ids, tuple(segments)))


def _class(item: Segmented, labels: Labels, phrase: str) -> int | None:
    """Return the class of a box; None where none of its pixels has one."""
    named = phrase.removeprefix("a ").removeprefix("an ")
    for k, name in enumerate(item.classes):
        if name in (phrase, named):
            return k if (labels == k).any() else None
    counts = np.bincount(labels.ravel(), minlength=item.void + 1)[: len(item.classes)]
    if item.classes[0] == BACKGROUND and counts[1:].any():
        counts[0] = 0
    return int(counts.argmax()) if counts.any() else None


def _segment(
    item: Segmented, ids: NDArray[np.int32], number: int, label: int, box: tuple[int, int, int, int]
) -> Segment:
    mask = ids == number
    score = 1.0 if item.confidence is None else float(item.confidence[mask].mean())
    return Segment(number, label, score, True, int(mask.sum()), box)
