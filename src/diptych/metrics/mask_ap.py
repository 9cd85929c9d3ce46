"""Average precision of instance masks over a whole data set, COCO's rule. NumPy in, fractions out.

    AP = mean over classes and thresholds t of  mean over r in {0, 0.01, ..., 1} of  max precision at a recall >= r

t: 0.5, 0.55, ..., 0.95, the least IoU of a predicted and a labelled mask that are a match

Predictions of a class are ranked over all images. In each image the best-scored picks first: the unmatched label of its
class with the highest IoU. A crowd takes any number of predictions, which are then not counted; its IoU is the share of
the prediction that lies on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Least IoU of a match."""
MOST = 100
"""Predictions of an image and class that count, best first."""
_RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Matched:
    """The predictions of one image beside its labels.

    Args:
        scores: (n,) of predictions.
        labels: (n,) their class positions.
        hits: (10, n) bool: matched at each threshold.
        excused: (10, n) bool: on a crowd, so not counted.
        truths: (K,) number of labels of each class, without crowds.
    """

    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    hits: NDArray[np.bool_]
    excused: NDArray[np.bool_]
    truths: NDArray[np.int64]


def matched(
    masks: NDArray[np.bool_],
    scores: Sequence[float],
    labels: Sequence[int],
    truth: NDArray[np.bool_],
    truth_labels: Sequence[int],
    classes: int,
    crowd: Sequence[bool] = (),
) -> Matched:
    """Match the predictions of one image.

    Args:
        masks: (n, H, W) predicted.
        scores: n, higher is surer.
        labels: n class positions.
        truth: (m, H, W) labelled.
        truth_labels: m class positions.
        classes: K.
        crowd: m marks; () is none.

    Raises:
        DataError: masks differ in size.

    Source: COCO's evaluation, by its documented behaviour; the tests compare with pycocotools.
    """
    if masks.shape[1:] != truth.shape[1:]:
        raise DataError(f"Predicted masks are {masks.shape[1:]} and labels {truth.shape[1:]}: give both at one size.")
    s, k = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    y, marks = np.asarray(truth_labels, dtype=np.int64), np.zeros(len(truth), dtype=bool)
    marks[:] = crowd if len(crowd) else False
    ranked = np.argsort(-s, kind="stable")
    best = [ranked[k[ranked] == c][:MOST] for c in np.unique(k)]
    order = np.sort(np.concatenate(best)) if best else ranked
    order = order[np.argsort(-s[order], kind="stable")]
    area = masks.shape[1] * masks.shape[2]
    p, t = masks[order].reshape(-1, area).astype(np.float64), truth.reshape(-1, area).astype(np.float64)
    inter, p_area = p @ t.T, p.sum(1)
    union = np.where(marks[None], p_area[:, None], p_area[:, None] + t.sum(1)[None] - inter)
    iou = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    hits, excused = np.zeros((2, len(THRESHOLDS), len(order)), dtype=bool)
    for level, least in enumerate(THRESHOLDS):
        free = np.ones(len(truth), dtype=bool)
        for row, i in enumerate(order):
            fit = (y == k[i]) & (iou[row] >= least)
            matching = np.flatnonzero(fit & ~marks & free)
            if len(matching):
                free[matching[np.argmax(iou[row][matching])]] = False
                hits[level, row] = True
            elif (fit & marks).any():
                excused[level, row] = True
    counts = np.bincount(y[~marks], minlength=classes)[:classes]
    return Matched(s[order], k[order], hits, excused, counts)


def mask_ap(images: Sequence[Matched]) -> float:
    """Return AP over all images. Higher is better, in [0, 1]; NaN where nothing is labelled."""
    values = class_ap(images)
    seen = ~np.isnan(values)
    return float(values[seen].mean()) if seen.any() else float("nan")


def class_ap(images: Sequence[Matched]) -> NDArray[np.float64]:
    """Return (10, K) AP of each threshold and class; NaN for a class without a label."""
    truths = np.sum([i.truths for i in images], axis=0)
    scores, labels = (np.concatenate([getattr(i, n) for i in images]) for n in ("scores", "labels"))
    hits, excused = (np.concatenate([getattr(i, n) for i in images], axis=1) for n in ("hits", "excused"))
    ap = np.full((len(THRESHOLDS), len(truths)), np.nan)
    for k in np.flatnonzero(truths):
        ranked = np.flatnonzero(labels == k)
        ranked = ranked[np.argsort(-scores[ranked], kind="mergesort")]
        for level in range(len(THRESHOLDS)):
            counted = hits[level, ranked][~excused[level, ranked]]
            right = counted.cumsum()
            recall, precision = right / truths[k], right / np.arange(1, len(counted) + 1)
            best = np.maximum.accumulate(precision[::-1])[::-1]
            at = np.searchsorted(recall, _RECALLS, side="left")
            ap[level, k] = np.append(best, 0.0)[np.minimum(at, len(best))].mean()
    return ap
