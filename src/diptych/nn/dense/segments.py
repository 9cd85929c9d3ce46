"""From the regions of an image to its segments: a panoptic map, and instances with scores.

    owner(u) = argmax over q of p_q m_q(u)
    kept     = q with p_q > threshold, p_q > void_q, and |owner = q| / |m_q >= 1/2| >= overlap

u: a pixel;  m_q(u): in [0, 1], how much it belongs to region q, at the image's size
p_q: the largest class probability of region q;  void_q: 1 less the sum of its class probabilities

A pixel is in the segment of its owner where m_q(u) >= 1/2, else it is void. Kept segments of one class of stuff are
joined. A dense map has no regions: there a thing is an 8-connected part of its class.

Source: Cheng et al. 2022 (Mask2Former), the panoptic inference; FC-CLIP uses overlap 0.8 and threshold 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from diptych.core import Regions, UsageError
from diptych.core.ranges import at_least, between, check
from diptych.nn.dense.label_maps import labelled


@dataclass(frozen=True)
class Rule:
    """When a region becomes a segment.

    Args:
        threshold: least class probability, in [0, 1].
        overlap: least share of a region that others leave to it, in [0, 1].
        least: pixels of the smallest segment, >= 1.

    Raises:
        UsageError: a number outside its range.
    """

    threshold: float = 0.0
    overlap: float = 0.8
    least: int = 1

    def __post_init__(self) -> None:
        check(self, between(0, 1), "threshold", "overlap")
        check(self, at_least(1), "least")


RULE = Rule()


@dataclass(frozen=True)
class Segment:
    """One segment of a panoptic map.

    Args:
        id: its number in the map, from 1.
        score: class probability, in [0, 1]; the mean over its pixels for a dense map.
        area: pixels.
        box: left, top, width, height in pixels.
    """

    id: int
    label: int
    score: float
    thing: bool
    area: int
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Panoptic:
    """Each pixel's segment.

    Args:
        ids: (H, W) int32 numbers of segments; 0 is void.
        segments: in the order of their numbers.
    """

    ids: NDArray[np.int32]
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Instance:
    """One object of a class of things; masks of instances may overlap.

    Args:
        mask: (H, W) bool.
        score: class probability times the mean of the mask's probabilities inside it, in [0, 1].
    """

    mask: NDArray[np.bool_]
    label: int
    score: float


def panoptic(
    regions: Regions,
    things: Sequence[bool] = (),
    groups: Sequence[int] | None = None,
    rule: Rule = RULE,
    *,
    void: int | None = None,
    threshold: float | None = None,
) -> Panoptic:
    """Return the panoptic map of one image.

    Args:
        regions: of the image.
        things: marks of the K classes; (): those of the regions, or none.
        groups: class position of each query, see ``label_map``; None: the queries are the classes.
        rule: which regions become segments.
        void: class position that is void, such as background; None: none is.
        threshold: pixels whose best probability lies below it are void, see ``label_maps.labelled``; None: none are.

    Raises:
        UsageError: masks with scores that are not log-probabilities.

    Example:
        >>> import torch
        >>> from diptych.core import Regions, Scores
        >>> cats = torch.tensor([[[1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]]])  # two masks of three cells in a row
        >>> regions = Regions(Scores(torch.tensor([[0.9], [0.8]]).log(), "log_prob"), (1, 3), (1, 3), cats)
        >>> panoptic(regions, things=(True,)).ids.tolist()
        [[1, 0, 2]]
        >>> panoptic(regions, things=(False,)).ids.tolist()  # stuff is one segment
        [[1, 0, 1]]
    """
    classes = _classes(regions, groups)
    counted = tuple(things or regions.things or (False,) * classes)
    if len(counted) != classes:
        raise UsageError(f"There are {len(counted)} marks of things for {classes} classes: give one per class.")
    parts = (
        _components(regions, counted, groups, threshold)
        if regions.masks is None
        else _winners(regions, counted, groups, rule)
    )
    if regions.masks is not None and threshold is not None:
        sure = (labelled(regions, groups, background=_UNSURE, threshold=threshold)[0] != _UNSURE).numpy()
        parts = [(mask & sure, k, score) for mask, k, score in parts]
    return _numbered(parts, regions.size, counted, rule, void)


def instances(
    regions: Regions,
    things: Sequence[bool] = (),
    groups: Sequence[int] | None = None,
    rule: Rule = RULE,
    *,
    most: int = 100,
) -> list[Instance]:
    """Return the objects of one image, surest first.

    Of masks, those of the ``most`` best pairs of a region and a class whose class is of things; a region may be several
    objects. Of a dense map, the things of its panoptic map.

    Args:
        regions: of the image.
        things: marks of the K classes; (): those of the regions, or all.
        groups: class position of each query; None: the queries are the classes.
        rule: for dense maps, see ``panoptic``.
        most: pairs that are looked at, and so instances at most.

    Source: Cheng et al. 2022 (Mask2Former), the instance inference; FC-CLIP has the same.
    """
    classes = _classes(regions, groups)
    counted = tuple(things or regions.things or (True,) * classes)
    if regions.masks is None:
        segmented = panoptic(regions, counted, groups, rule)
        listed = [Instance(segmented.ids == s.id, s.label, s.score) for s in segmented.segments if s.thing]
        return sorted(listed, key=lambda i: -i.score)[:most]
    p, (height, width) = _grouped(_probabilities(regions), groups, classes), regions.size
    best = p.flatten().argsort(descending=True, stable=True)[:most]
    listed = []
    for q, k in zip((best // classes).tolist(), (best % classes).tolist(), strict=True):
        if not counted[k]:
            continue
        m = _full(regions.masks[q : q + 1], height, width)[0]
        inside = m >= 0.5
        if p[q, k] > 0 and bool(inside.any()):
            listed.append(Instance(inside.numpy(), k, float(p[q, k] * m[inside].mean())))
    return sorted(listed, key=lambda i: -i.score)


_Part = tuple[NDArray[np.bool_], int, float]
_UNSURE = -1
"""Label of pixels below the threshold."""


def _winners(regions: Regions, things: Sequence[bool], groups: Sequence[int] | None, rule: Rule) -> list[_Part]:
    assert regions.masks is not None
    classes = len(things)
    p, masks = _grouped(_probabilities(regions), groups, classes), regions.masks
    if regions.ids:
        numbers = list(dict.fromkeys(regions.ids))
        rows = [torch.tensor([i for i, n in enumerate(regions.ids) if n == number]) for number in numbers]
        p = torch.stack([p[r].amax(0) for r in rows])
        masks = torch.stack([masks[r].amax(0) for r in rows])
    score, label = p.max(1)
    void = 1 - p.sum(1) if groups is None else torch.zeros_like(score)
    winners = torch.nonzero((score > rule.threshold) & (score > void))[:, 0]
    if not len(winners):
        return []
    full = _full(masks[winners], *regions.size)
    owner = (score[winners, None, None] * full).argmax(0)
    parts: list[_Part] = []
    for row, q in enumerate(winners.tolist()):
        whole = full[row] >= 0.5
        inside = whole & (owner == row)
        if bool(inside.any()) and float((owner == row).sum()) / float(whole.sum()) >= rule.overlap:
            parts.append((inside.numpy(), int(label[q]), float(score[q])))
    return parts


def _components(
    regions: Regions, things: Sequence[bool], groups: Sequence[int] | None, threshold: float | None
) -> list[_Part]:
    from scipy.ndimage import label as components

    labels, sure = (t.numpy() for t in labelled(regions, groups, background=_UNSURE, threshold=threshold))
    parts: list[_Part] = []
    for k in np.unique(labels[labels != _UNSURE]).tolist():
        mask = labels == k
        if things[k]:
            numbers, count = components(mask, np.ones((3, 3)))
            parts += [(numbers == n, k, float(sure[numbers == n].mean())) for n in range(1, count + 1)]
        else:
            parts.append((mask, k, float(sure[mask].mean())))
    return parts


def _numbered(
    parts: Sequence[_Part], size: tuple[int, int], things: Sequence[bool], rule: Rule, void: int | None
) -> Panoptic:
    ids, number_of, scores = np.zeros(size, dtype=np.int32), dict[int, int](), list[tuple[int, float]]()
    for mask, label, score in parts:
        if label == void or int(mask.sum()) < rule.least:
            continue
        if not things[label] and label in number_of:
            ids[mask] = number_of[label]
            continue
        scores.append((label, score))
        number_of[label] = len(scores)
        ids[mask] = len(scores)
    return Panoptic(ids, tuple(_segment(ids == n, n, k, s, things[k]) for n, (k, s) in enumerate(scores, start=1)))


def _segment(mask: NDArray[np.bool_], number: int, label: int, score: float, thing: bool) -> Segment:
    rows, columns = np.nonzero(mask)
    left, top = int(columns.min()), int(rows.min())
    box = (left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top)
    return Segment(number, label, min(1.0, max(0.0, score)), thing, len(rows), box)


def _classes(regions: Regions, groups: Sequence[int] | None) -> int:
    return regions.scores.values.shape[1] if groups is None else max(groups) + 1


def _probabilities(regions: Regions) -> Tensor:
    if regions.scores.kind != "log_prob":
        raise UsageError(
            f"Masks are weighted by probabilities, and these scores are of kind {regions.scores.kind!r}: give log_prob."
        )
    return regions.scores.ranked().float().exp().cpu()


def _grouped(p: Tensor, groups: Sequence[int] | None, classes: int) -> Tensor:
    """Return (Q, K): of each class the probability of its best query."""
    if groups is None:
        return p
    owner = torch.tensor(groups).expand(len(p), -1)
    return p.new_zeros(len(p), classes).scatter_reduce_(1, owner, p, "amax")


def _full(masks: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(masks[:, None].float().cpu(), (height, width), mode="bilinear", align_corners=False)[:, 0]
