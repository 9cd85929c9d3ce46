"""What a segmenter is asked, and how its regions become the classes of the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diptych.core import ClassNames, Regions, Segmenter, UsageError
from diptych.core.void import Labels, as_map, void_of
from diptych.data.words.templates import ENSEMBLE
from diptych.nn.dense.label_maps import labelled
from diptych.nn.dense.segments import Panoptic, Rule, panoptic
from diptych.tasks.label_maps.segmented import BACKGROUND
from diptych.tasks.pages.overlay import palette

SMALLEST = 64
"""Pixels of the smallest segment of a dense map; cells at the border of two classes make crumbs."""


@dataclass(frozen=True)
class Question:
    """What a segmenter is asked, and how its regions become classes.

    Args:
        classes: K classes of the result with their words; the first is "background" where there are words for it.
        fit_classes: the classes that ``fit`` gets: K, or one per word where the words are merged afterwards.
        groups: position in ``classes`` of each of these; None: they are the same.
        threshold: pixels whose best probability lies below it are ``rest``; None: none are.
        rest: position of uncertain pixels: 0 for background, ``core.void.void_of`` the classes for unknown.
    """

    classes: ClassNames
    fit_classes: ClassNames
    groups: tuple[int, ...] | None = None
    threshold: float | None = None
    rest: int = 0

    @classmethod
    def plain(cls, names: tuple[str, ...] | ClassNames) -> Question:
        """Return the question of a fitted segmenter: its own classes, each of which is one name."""
        classes = ClassNames.of(names)
        return cls(classes, classes)

    @property
    def background(self) -> int | None:
        """Position of background; None without."""
        return 0 if self.classes.names[0] == BACKGROUND else None

    @property
    def rule(self) -> Rule:
        """When a part of a dense map is a segment."""
        return Rule(least=SMALLEST)

    def labels(self, regions: Regions, *, scored: bool = False) -> tuple[Labels, NDArray[np.float32]]:
        """Return the (H, W) class positions of one image, and the score of each; logits where ``scored`` is False."""
        labels, sure = labelled(regions, self.groups, background=self.rest, threshold=self.threshold, scored=scored)
        return as_map(labels.cpu().numpy(), len(self.classes)), sure.cpu().numpy()

    def answer(self, regions: Regions, *, scored: bool = False) -> tuple[Labels, NDArray[np.float32], Panoptic | None]:
        """Return labels and scores as ``labels`` does, and the segments where classes of things were named.

        The three agree. Of masks, the sum over all of them gives one class where many weak masks name it, while each
        segment is its best mask: with segments a pixel has the class, and where its class changes the score, of its
        segment. Pixels of no segment keep theirs.

        Source: Cheng et al. 2021 (MaskFormer), the general inference, whose label map joins the segments of a class.
        """
        labels, sure = self.labels(regions, scored=scored)
        if not any(self.classes.things):
            return labels, sure, None
        segmented = self.panoptic(regions)
        for s in segmented.segments:
            other = (segmented.ids == s.id) & (labels != s.label)
            labels[other], sure[other] = s.label, s.score
        return labels, sure, segmented

    def panoptic(self, regions: Regions) -> Panoptic:
        """Return the segments of one image; background and unknown pixels are void."""
        rule = self.rule if regions.masks is None else Rule()
        threshold = self.threshold if self.rest in (void_of(len(self.classes)), self.background) else None
        return panoptic(regions, self.classes.things, self.groups, rule, void=self.background, threshold=threshold)


def question(
    names: ClassNames | Sequence[str],
    method: Segmenter | type[Segmenter],
    *,
    templates: Sequence[str] | None = None,
    background: Sequence[str] = (),
    threshold: float | None = None,
    unknown: float | None = None,
    things: Sequence[str] = (),
) -> Question:
    """Return what a segmenter is asked.

    Args:
        names: K class names, or names with templates, words and marks of things.
        method: says when the words of a class are merged.
        templates: replace those of ``names``; None: the ensemble of ``data.words.templates`` where ``names`` has none.
        background: words for what none of the names names, such as "sky", "wall"; the answer of all is "background",
            class 0 of the result.
        threshold: pixels whose best probability lies below it are background.
        unknown: pixels whose best probability lies below it are of no class.
        things: names of classes whose objects are counted; (): as ``names`` marks them.

    Raises:
        UsageError: a threshold outside [0, 1] or without background, both thresholds, more than 65,535 classes, a
            name that is a background word too, "background" beside such words, or a thing that is no name.
    """
    if threshold is not None and (not 0 <= threshold <= 1 or not background):
        raise UsageError(
            f"{{threshold}} is a probability from 0 to 1 below which pixels are background, got {threshold:g}: give "
            f"words for {{background}} too."
        )
    if unknown is not None and (threshold is not None or not 0 <= unknown <= 1):
        raise UsageError(
            f"Pixels below a probability from 0 to 1 are unknown, or background, but not both, got {unknown}: give one "
            f"of the two."
        )
    named = ClassNames.of(names, ENSEMBLE)
    if background and BACKGROUND in map(str.casefold, named.names):
        raise UsageError(
            f"{BACKGROUND!r} is a name and what the words for background become: take it out of the names, or give no "
            "words."
        )
    if strange := [t for t in things if t not in named.names]:
        raise UsageError(
            f"{strange[0]!r} is not a class, so it cannot be a thing: name some of {', '.join(named.names)}."
        )
    marks = tuple(n in things for n in named.names) if things else named.things
    words = named.words or tuple((n,) for n in named.names)
    classes = ClassNames(
        (*((BACKGROUND,) if background else ()), *named.names),
        tuple(templates or named.templates),
        (*((tuple(background),) if background else ()), *words) if background or named.words else (),
        (*((False,) if background else ()), *marks) if marks else (),
    )
    palette(len(classes))
    limit, rest = (unknown, void_of(len(classes))) if unknown is not None else (threshold, 0)
    if method.merges == "before" or not classes.words:
        return Question(classes, classes, None, limit, rest)
    queries, groups = classes.queries()
    return Question(classes, queries, groups, limit, rest)
