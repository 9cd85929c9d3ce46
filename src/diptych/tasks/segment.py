"""Say what lies where on photos, and count a fitted segmenter's pixels on labelled ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.backbones.mask_models.sam import SamMasks
from diptych.backbones.sources.promptable import load_promptable
from diptych.backbones.sources.proposers import AUTO, load_proposer
from diptych.backbones.sources.vision import load_vision, sam_space
from diptych.core import (
    Backbone,
    DataError,
    Evidence,
    FittedSegmenter,
    Kit,
    PromptableMasks,
    Regions,
    Run,
    Samples,
    Segmenter,
    Table,
    UnreadableItem,
    UsageError,
)
from diptych.core.void import NARROW
from diptych.data.images import need_size
from diptych.data.memory import InMemory
from diptych.metrics.mask_ap import Matched, matched
from diptych.metrics.panoptic import VOID, panoptic_counts
from diptych.metrics.segmentation import confusion, totals
from diptych.nn.dense.segments import instances
from diptych.tasks.label_maps.question import Question
from diptych.tasks.label_maps.segmented import Segmented


def segmented(
    fitted: FittedSegmenter, photos: Samples[Any], question: Question, run: Run, *, confidence: bool = False
) -> Iterator[Segmented | UnreadableItem]:
    """Yield the label map of each photo by a fitted segmenter, or why it cannot be read, in the order of the photos.

    Args:
        fitted: the segmenter, fitted on ``question.fit_classes``.
        photos: N images.
        question: how its regions become classes.
        run: device, cache and progress.
        confidence: whether the results hold the probability of each pixel.
    """
    with run.track("segment", len(photos)) as bar:
        for answer in run.spread(Answers(fitted, question, confidence), photos):
            yield answer
            bar.advance()


@dataclass(frozen=True)
class Answers:
    """The job of a fitted segmenter: the label map of each photo, or why it cannot be read; see ``segmented``."""

    fitted: FittedSegmenter
    question: Question
    confidence: bool = False

    def __call__(self, photos: Samples[Any], run: Run) -> Iterator[Segmented | UnreadableItem]:
        """Yield the answers in the order of the photos."""
        for i in range(len(photos)):
            try:
                photo = InMemory((photos[i],), (photos.name(i),), (photos.key(i),))
            except UnreadableItem as error:
                yield error
                continue
            (regions,) = self.fitted.regions(photo, run)
            labels, sure, segments = self.question.answer(regions, scored=self.confidence)
            shown = sure if self.confidence else None
            yield Segmented(photo.name(0), photo[0], labels, self.question.classes.names, shown, segments)


def counts(fitted: FittedSegmenter, table: Table[Any], run: Run, question: Question | None = None) -> NDArray[np.int64]:
    """Count a fitted segmenter's pixels, image by image; the sum over images goes into ``metrics.segmentation``.

    Args:
        fitted: what to measure.
        table: N readable images with a "mask" column of (H, W) class positions; pixels that do not count have
            ``core.void.void_of`` the classes.
        run: device and cache.
        question: how its regions become the K classes of the masks, without unknown pixels; None: its own classes.

    Returns:
        (N, K, K) int64: row = label, column = prediction; of more than 255 classes their (N, K, 3) totals.

    Raises:
        UnreadableItem: an image or mask cannot be read.
        DataError: the table has no items or no mask column, or a mask has another size than its image.
    """
    column = table.columns.get("mask")
    if column is None or column.kind != "mask" or len(table) == 0:
        raise DataError("This table has no masks to compare with: give images with a mask column.")
    question = question or Question.plain(fitted.classes)
    size = len(question.classes)
    many = size > NARROW
    counted = np.zeros((len(table), size, 3 if many else size), dtype=np.int64)
    with run.track("segment", len(table)) as bar:
        for i, regions in enumerate(fitted.regions(table.items, run)):
            labels = np.asarray(column.values[i])
            need_size(table.items.name(i), labels.shape, regions.size)
            pixels = confusion(question.labels(regions)[0], labels, size)
            counted[i] = totals(pixels) if many else pixels
            bar.advance()
    return counted


def segment_counts(
    fitted: FittedSegmenter, table: Table[Any], run: Run, question: Question
) -> tuple[NDArray[np.float64], list[Matched]]:
    """Count a fitted segmenter's segments and match its things, image by image.

    Args:
        fitted: what to measure.
        table: N readable images with a "panoptic" column of (H, W, 2) class positions and numbers of segments.
        run: device and cache.
        question: how its regions become the K classes, with marks of things.

    Returns:
        (N, K, 4) float64, whose sum over images goes into ``metrics.panoptic``, and N matches for ``metrics.mask_ap``.

    Raises:
        UnreadableItem: an image or PNG cannot be read.
        DataError: the table has no items or no such column, or a map has another size than its image.
    """
    column = table.columns.get("panoptic")
    if column is None or column.kind != "panoptic" or len(table) == 0:
        raise DataError("This table has no panoptic maps to compare with: give COCO's panoptic annotations.")
    sums, things = np.zeros((len(table), len(question.classes), 4)), list[Matched]()
    for i, regions in enumerate(fitted.regions(table.items, run)):
        truth, answer = np.asarray(column.values[i]), question.panoptic(regions)
        need_size(table.items.name(i), truth.shape[:2], regions.size)
        classes = np.full(len(answer.segments) + 1, VOID)
        for s in answer.segments:
            classes[s.id] = s.label
        sums[i] = panoptic_counts(np.stack([classes[answer.ids], answer.ids], axis=-1), truth, len(question.classes))
        things.append(_matched(regions, truth, question))
    return sums, things


def _matched(regions: Regions, truth: NDArray[np.integer[Any]], question: Question) -> Matched:
    """Match the things of one image."""
    marks, size = question.classes.things or (False,) * len(question.classes), truth.shape[:2]
    predicted = instances(regions, marks, question.groups, question.rule)
    pairs = [(k, n) for k, n in np.unique(truth.reshape(-1, 2), axis=0).tolist() if k != VOID and marks[k]]
    masks = [(truth[..., 0] == k) & (truth[..., 1] == n) for k, n in pairs]
    return matched(
        np.stack([m.mask for m in predicted]) if predicted else np.zeros((0, *size), dtype=bool),
        [m.score for m in predicted],
        [m.label for m in predicted],
        np.stack(masks) if masks else np.zeros((0, *size), dtype=bool),
        [k for k, _ in pairs],
        len(question.classes),
    )


TEACHER = "lite:2026-11"
"""The image encoder that teaches where a system asks for one. Maps of the published image weights are better than those
of ``lite``: 39.7 beside 37.2 % mIoU with the words of stuff-context alone on 40 photos of msrc_small.
"""


def teach(
    system: type[Segmenter],
    backbone: Backbone,
    photos: Callable[[], Samples[Any] | None],
    teacher: str = TEACHER,
    proposer: str = AUTO,
    masks: str | PromptableMasks | None = None,
    *,
    labelled: Callable[[], Table[Any] | None] = lambda: None,
    captioned: Callable[[], Table[Any] | None] = lambda: None,
) -> tuple[Kit, Evidence[Any]]:
    """Return the parts and the evidence that a segmenter's card asks for.

    A ``Space`` goes by the name "teacher", a ``MaskProposer`` by "proposer", ``PromptableMasks`` by "masks"; the
    encoder of a SAM, which shares its weights, goes by "sam".

    Args:
        system: a segmenter.
        backbone: the main part.
        photos: gives photos without labels; called only for a system that learns from some.
        teacher: name of a space with an image encoder that teaches, see ``sources.vision.load_vision``; the main part
            teaches itself, if that is its name.
        proposer: name of a mask proposer, see ``sources.proposers.load_proposer``; "auto" is the system's
            ``default_proposer``.
        masks: a SAM, or the name of one; None: none, and a system that needs one is refused.
        labelled: gives photos with label maps; called only for a system that learns from some.
        captioned: gives photos with captions; called only for a system that learns from some.

    Raises:
        UsageError: a system needs a SAM and none is named, or a name is unknown.
        NotAvailable: a part or the photos are not on this machine.
    """
    needs = system.card.needs
    parts: dict[str, Any] = {"main": backbone}
    if "Space" in needs.parts:
        parts["teacher"] = backbone if backbone.spec.name == teacher else load_vision(teacher)
    if "MaskProposer" in needs.parts + needs.optional_parts:
        parts["proposer"] = load_proposer(system.default_proposer if proposer == AUTO else proposer)
    if "PromptableMasks" in needs.parts and masks is None:
        raise UsageError(
            f"{system.card.slug} draws masks with SAM: give {{masks}}, such as hf:facebook/sam-vit-base, or a folder."
        )
    if "PromptableMasks" in needs.parts + needs.optional_parts and masks is not None:
        parts["masks"] = drawer = load_promptable(masks) if isinstance(masks, str) else masks
        if isinstance(drawer, SamMasks) and not drawer.second:
            parts["sam"] = sam_space(drawer)
    evidence = Evidence[Any](
        train=labelled() if "train" in needs.evidence else None,
        unlabelled=photos() if "unlabelled" in needs.evidence else None,
        auxiliary=captioned() if "auxiliary" in needs.evidence else None,
    )
    return Kit(parts), evidence
