"""A promise per pixel: how sure a segmenter must be, so that few pixels are named wrongly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, FittedSegmenter, Run, Table
from diptych.core.void import WIDE, void_of
from diptych.data.images import need_size
from diptych.data.words.classnames import tidy
from diptych.metrics.selective import check_enough, risk_threshold, wrong_pixels
from diptych.tasks.label_maps.question import Question

THRESHOLDS = np.linspace(0, 1, 1001, dtype=np.float32)
"""In float32, as the scores: they are compared with the very same number afterwards."""
_NO_NAME = -1


@dataclass(frozen=True)
class Promise:
    """What is promised of a new photo's pixels.

    Args:
        threshold: pixels whose best probability lies below it are unknown.
        risk: of a new photo, the expected share of pixels that are named, and wrongly, at most.
        photos: n, whose label maps were used.
        wrong: mean share of such pixels on these photos.
        named: mean share of pixels that keep a name there.
    """

    threshold: float
    risk: float
    photos: int
    wrong: float
    named: float

    def sentence(self) -> str:
        """Return the promise in words, with what it does not cover.

        Example:
            >>> Promise(0.4, 0.1, 30, 0.08, 0.7).sentence()
            'Pixels below 0.400 are unknown: at most 10 % of the pixels of a new photo are then named wrongly, on \
average over photos of the kind of the 30 calibration photos, on which it is 8 %; 70 % of their pixels keep a name. \
Photos of another kind are not covered.'
        """
        return (
            f"Pixels below {self.threshold:.3f} are unknown: at most {self.risk:.0%} of the pixels of a new photo are "
            f"then named wrongly, on average over photos of the kind of the {self.photos} calibration photos, on which "
            f"it is {self.wrong:.0%}; {self.named:.0%} of their pixels keep a name. Photos of another kind are not "
            f"covered."
        ).replace("%", " %")


def promise(
    fitted: FittedSegmenter, table: Table[Any], labels: Sequence[str], question: Question, run: Run, risk: float
) -> tuple[Question, Promise]:
    """Choose the probability below which pixels are unknown, by conformal risk control over photos.

    A pixel of a class that is none of the names counts as wrong where it is named at all, or, where there are words for
    background, where it is not named background.

    Args:
        fitted: the segmenter, fitted on ``question.fit_classes``. It must not have learnt from these photos.
        table: n readable photos with a "mask" column of (H, W) positions in ``labels``, see ``core.void`` for pixels
            that do not count.
        labels: class names of the masks.
        question: how regions become classes; its threshold does not count.
        run: device and progress.
        risk: bound, in (0, 1).

    Returns:
        The question with the threshold, and the promise.

    Raises:
        UsageError: n photos cannot promise this risk, or the segmenter gives cosines.
        DataError: there are no masks, none of the names is a class of theirs, a mask has another size than its photo,
            or no threshold keeps the risk.
        UnreadableItem: a photo or mask cannot be read.
    """
    column = table.columns.get("mask")
    if column is None or column.kind != "mask" or len(table) == 0:
        raise DataError("The calibration photos have no label maps: give photos with masks.")
    check_enough(len(table), risk)  # before minutes of segmenting
    positions = _positions(labels, question)
    unknown, void = void_of(len(question.classes)), void_of(len(labels))
    certain = replace(question, threshold=0.0, rest=unknown)  # also refuses cosines
    losses = np.zeros((len(table), len(THRESHOLDS)))
    named = np.zeros_like(losses)
    with run.track("calibrate", len(table)) as bar:
        for i, regions in enumerate(fitted.regions(table.items, run)):
            mask = np.asarray(column.values[i])
            need_size(table.items.name(i), mask.shape, regions.size)
            truth = np.where(mask == void, WIDE, positions[np.minimum(mask, len(labels))])
            predicted, scores, _ = certain.answer(regions, scored=True)
            losses[i] = wrong_pixels(predicted.astype(np.int64), scores, truth, THRESHOLDS, ignore=WIDE)
            named[i] = 1 - np.searchsorted(np.sort(scores, axis=None), THRESHOLDS, side="left") / scores.size
            bar.advance()
    threshold = risk_threshold(losses, THRESHOLDS, risk)
    if math.isinf(threshold):
        raise DataError(
            f"No threshold keeps a risk of {risk:g}: with full probability {losses[:, -1].mean():.1%} of the pixels "
            f"are still named wrongly. Give a larger {{risk}}, more calibration photos, or another method."
        )
    at = int(np.searchsorted(THRESHOLDS, np.float32(threshold)))
    held = Promise(threshold, risk, len(table), float(losses[:, at].mean()), float(named[:, at].mean()))
    return replace(question, threshold=threshold, rest=unknown), held


def _positions(labels: Sequence[str], question: Question) -> NDArray[np.int64]:
    """Return, for each class of the masks and one more for all others, its position in the question."""
    names = {tidy(name).casefold(): k for k, name in enumerate(question.classes.names)}
    other = _NO_NAME if question.background is None else question.background
    positions = [names.get(tidy(label).casefold(), other) for label in labels]
    if all(k == other for k in positions):
        some = ", ".join(labels[:5])
        raise DataError(f"None of the names is a class of the calibration masks, such as {some}: give these names.")
    return np.array([*positions, other], dtype=np.int64)
