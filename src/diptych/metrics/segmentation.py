"""Semantic segmentation over a whole data set: counts are added up first, and divided once. NumPy in, fractions out.

IoU_k = I_k / (P_k + L_k - I_k)        I, P, L: pixels of intersection, prediction and label of class k, over ALL images

The mean of per-image IoUs is another metric, and is not here. Pixels of the ignored label count nowhere.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diptych.core.errors import DataError
from diptych.metrics.interval import CELLS, Interval

IGNORE = 255
"""The label that the field gives to pixels that do not count."""

Labels = NDArray[np.integer[Any]]
Counts = NDArray[np.integer[Any] | np.floating[Any]]


def confusion(predicted: Labels, labels: Labels, classes: int, *, ignore: int = IGNORE) -> NDArray[np.int64]:
    """Count the pixels of one image; sums of these are the counts of a data set.

    Args:
        predicted: (H, W) class positions.
        labels: (H, W) class positions, or ``ignore``.
        classes: K.
        ignore: label of pixels that do not count.

    Returns:
        (K, K) int64: row = label, column = prediction.

    Raises:
        DataError: sizes differ, or a number is no class position.
    """
    if predicted.shape != labels.shape:
        raise DataError(
            f"The prediction has {predicted.shape} pixels and the mask {labels.shape}: give masks of the images' own "
            f"size."
        )
    counted = labels != ignore
    p, y = predicted[counted].astype(np.int64), labels[counted].astype(np.int64)
    for name, values in (("mask", y), ("prediction", p)):
        outside = values[(values < 0) | (values >= classes)]
        if outside.size:
            raise DataError(
                f"The {name} holds {outside[0]}, and there are {classes} classes: number them from 0, and ignore the "
                f"rest."
            )
    return np.bincount(y * classes + p, minlength=classes * classes).reshape(classes, classes)


def zero_is_void(labels: Labels) -> Labels:
    """Return labels whose 0 is ignored and whose classes move down by one (the field's ``reduce_zero_label``); 255
    stays 255.
    """
    wide = labels.astype(np.int64)
    return np.where((wide == 0) | (wide == IGNORE), IGNORE, wide - 1)


def class_iou(counts: Counts) -> NDArray[np.float64]:
    """Return the IoU of each class. Higher is better, in [0, 1].

    Args:
        counts: (..., K, K) summed confusion counts.

    Returns:
        (..., K) float64; NaN for a class that is neither labelled nor predicted.

    Source: ``total_area_to_metrics`` of mmsegmentation, by its documented behaviour.
    """
    c = np.asarray(counts, dtype=np.float64)
    hit, labelled, predicted = np.diagonal(c, axis1=-2, axis2=-1), c.sum(-1), c.sum(-2)
    union = labelled + predicted - hit
    iou: NDArray[np.float64] = np.divide(hit, union, out=np.full(union.shape, np.nan), where=union > 0)
    return iou


def mean_iou(counts: Counts, *, over: Literal["seen", "labelled"] = "seen") -> NDArray[np.float64]:
    """Return mIoU, the mean IoU over classes. Higher is better, in [0, 1].

    The two rules differ by several points on large vocabularies: name the one you report.

    Args:
        counts: (..., K, K) summed confusion counts.
        over: "seen" averages classes that are labelled or predicted (mmsegmentation; detectron2 0.6), so that a
            predicted class without label counts as 0; "labelled" averages labelled classes only (detectron2 main).

    Returns:
        (...) float64, NaN without any class.
    """
    c = np.asarray(counts, dtype=np.float64)
    iou = class_iou(c)
    chosen = ~np.isnan(iou) if over == "seen" else c.sum(-1) > 0
    total, number = np.where(chosen, np.nan_to_num(iou), 0.0).sum(-1), chosen.sum(-1)
    mean: NDArray[np.float64] = np.divide(total, number, out=np.full(np.shape(total), np.nan), where=number > 0)
    return mean


def pixel_accuracy(counts: Counts) -> NDArray[np.float64]:
    """Return the share of counted pixels whose class is right. Higher is better, in [0, 1].

    Args:
        counts: (..., K, K) summed confusion counts.

    Returns:
        (...) float64, NaN without any pixel.
    """
    c = np.asarray(counts, dtype=np.float64)
    hit, total = np.trace(c, axis1=-2, axis2=-1), c.sum((-2, -1))
    share: NDArray[np.float64] = np.divide(hit, total, out=np.full(np.shape(total), np.nan), where=total > 0)
    return share


def chance(counts: Counts) -> NDArray[np.float64]:
    """Return the counts expected of a segmenter that draws one of the K classes for each pixel; its mIoU on even labels
    is 1 / (2K - 1).

    Args:
        counts: (..., K, K) counts of any segmenter on the same images.
    """
    labelled = np.asarray(counts, dtype=np.float64).sum(-1, keepdims=True)
    return np.broadcast_to(labelled / counts.shape[-1], counts.shape).copy()


def miou_bootstrap(counts: Counts, seed: int, *, level: float = 0.95, draws: int = 2000) -> Interval:
    """Return mIoU over the data set, averaged over seeds, with its two-sided interval: images and seeds are resampled,
    then summed.

    Args:
        counts: (R, N, K, K) counts of R seeds on the same N images.
        seed: of the resampling.
        level: share of resampled values inside.
        draws: resampled values.
    """
    (values,) = _resampled((counts,), seed, draws)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(mean_iou(counts.sum(1)).mean()), float(low), float(high))


def miou_gain(first: Counts, second: Counts, seed: int, *, level: float = 0.95, draws: int = 2000) -> Interval:
    """Return the gain in mIoU of ``first`` over ``second``, paired by seed and image, with its one-sided lower bound.

    Args:
        first: (R, N, K, K) counts of R seeds on the same N images.
        second: the same size: the same seeds and images, in the same order.
        seed: of the resampling.
        level: share of resampled gains above the bound.
        draws: resampled gains.

    Raises:
        DataError: sizes differ.
    """
    if first.shape != second.shape:
        raise DataError(
            f"Paired counts must have one size, and have {first.shape} and {second.shape}: give the same seeds and "
            f"images."
        )
    one, two = _resampled((first, second), seed, draws)
    gain = mean_iou(first.sum(1)).mean() - mean_iou(second.sum(1)).mean()
    return Interval(float(gain), float(np.quantile(one - two, 1 - level)), math.inf)


def _resampled(systems: tuple[Counts, ...], seed: int, draws: int) -> list[NDArray[np.float64]]:
    """Return the mIoU of each system in the same ``draws`` resamples of images and of seeds, crossed."""
    rounds, images, classes, _ = systems[0].shape
    rng = np.random.default_rng(seed)
    found: list[list[NDArray[np.float64]]] = [[] for _ in systems]
    step = max(1, CELLS // max(images, classes * classes))
    for start in range(0, draws, step):
        n = min(step, draws - start)
        weights = rng.multinomial(images, np.full(images, 1 / images), size=n).astype(np.float64)
        shares = rng.multinomial(rounds, np.full(rounds, 1 / rounds), size=n) / rounds
        for values, counts in zip(found, systems, strict=True):
            flat = np.asarray(counts, dtype=np.float64).reshape(rounds, images, -1)
            each = [mean_iou((weights @ flat[r]).reshape(n, classes, classes)) for r in range(rounds)]
            values.append((shares * np.stack(each, axis=1)).sum(1))
    return [np.concatenate(values) for values in found]
