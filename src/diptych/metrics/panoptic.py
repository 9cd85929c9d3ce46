"""Panoptic quality over a whole data set. NumPy in, fractions out.

    PQ_k = sum of IoU over matches / (TP + FP/2 + FN/2) = SQ_k RQ_k
    SQ_k = sum of IoU over matches / TP,   RQ_k = TP / (TP + FP/2 + FN/2)

TP: matches, pairs of a predicted and a labelled segment of class k whose IoU is above 1/2 (each has one at most)
FP, FN: predicted and labelled segments without a match

Pixels without a label count in no union, and a predicted segment without a match is no FP where most of it lies on
them. Objects of a crowd are best given as pixels without a label; panopticapi excuses them for their own class only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError

VOID = 255
"""Class of pixels without a label or a prediction."""

Map = NDArray[np.integer[Any]]


def panoptic_counts(predicted: Map, labels: Map, classes: int, *, void: int = VOID) -> NDArray[np.float64]:
    """Return the counts of one image; their sum is the counts of a data set.

    Args:
        predicted: (H, W, 2) class position and number of the segment; ``void`` where nothing is predicted.
        labels: (H, W, 2), the same.
        classes: K.
        void: class of pixels that do not count.

    Returns:
        (K, 4) float64: sum of IoU over matches, TP, FP, FN.

    Raises:
        DataError: sizes differ, or a class is no position.

    Source: Kirillov et al. 2019 (Panoptic Segmentation), section 4; panopticapi, by its documented behaviour.

    Example:
        >>> import numpy as np
        >>> truth = np.array([[[0, 1], [0, 1], [0, 2], [1, 3]]])
        >>> panoptic_counts(truth, truth, 2).tolist()  # two things of class 0 and one of class 1, all found
        [[2.0, 2.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]
    """
    if predicted.shape != labels.shape or predicted.ndim != 3 or predicted.shape[2] != 2:
        raise DataError(
            f"The prediction has shape {predicted.shape} and the labels {labels.shape}: give (H, W, 2) for both."
        )
    for name, given in (("prediction", predicted), ("labels", labels)):
        outside = given[..., 0][(given[..., 0] != void) & ((given[..., 0] < 0) | (given[..., 0] >= classes))]
        if outside.size:
            raise DataError(f"The {name} has class {outside[0]}, and there are {classes}: number them from 0.")
    p, p_class = _numbered(predicted, void)
    y, y_class = _numbered(labels, void)
    width = len(p_class) + 1
    overlap = np.bincount(y * width + p, minlength=(len(y_class) + 1) * width).reshape(-1, width)
    p_area, y_area = overlap.sum(0), overlap.sum(1)
    counts = np.zeros((classes, 4))
    p_matched, y_matched = np.zeros(width, dtype=bool), np.zeros(len(y_class) + 1, dtype=bool)
    for j, i in zip(*np.nonzero(overlap[1:, 1:]), strict=True):
        if y_class[j] != p_class[i]:
            continue
        hit = overlap[j + 1, i + 1]
        iou = hit / (p_area[i + 1] + y_area[j + 1] - hit - overlap[0, i + 1])
        if iou > 0.5:
            counts[y_class[j], :2] += iou, 1
            p_matched[i + 1] = y_matched[j + 1] = True
    for i, k in enumerate(p_class, start=1):
        if not p_matched[i] and overlap[0, i] <= p_area[i] / 2:
            counts[k, 2] += 1
    for j, k in enumerate(y_class, start=1):
        if not y_matched[j] and y_area[j]:
            counts[k, 3] += 1
    return counts


def panoptic_quality(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return pq, sq and rq of each class. Higher is better, in [0, 1].

    Args:
        counts: (..., K, 4) summed counts.

    Returns:
        Name -> (..., K) float64; NaN for a class that is neither labelled nor predicted, and for sq without a match.
    """
    iou, tp, fp, fn = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    whole = tp + fp / 2 + fn / 2
    nothing = np.full(whole.shape, np.nan)
    return {
        "pq": np.divide(iou, whole, out=nothing.copy(), where=whole > 0),
        "sq": np.divide(iou, tp, out=nothing.copy(), where=tp > 0),
        "rq": np.divide(tp, whole, out=nothing.copy(), where=whole > 0),
    }


def mean_pq(counts: NDArray[np.float64], classes: Any = slice(None)) -> float:
    """Return PQ averaged over classes that are labelled or predicted. Higher is better, in [0, 1]; NaN without any.

    Args:
        counts: (K, 4) summed counts.
        classes: positions, a mask or a slice: those of things or of stuff give PQ of things or stuff.
    """
    pq = panoptic_quality(counts)["pq"][classes]
    seen = ~np.isnan(pq)
    return float(pq[seen].mean()) if seen.any() else float("nan")


def _numbered(segments: Map, void: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (H*W,) numbers of segments from 1, 0 for void, and the class of each."""
    flat = segments.reshape(-1, 2).astype(np.int64)
    shown = flat[:, 0] != void
    distinct, number = np.unique(flat[shown], axis=0, return_inverse=True)
    out = np.zeros(len(flat), dtype=np.int64)
    out[shown] = number.ravel() + 1
    return out, distinct[:, 0]
