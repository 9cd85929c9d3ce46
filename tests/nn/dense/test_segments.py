from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from diptych.core import Regions, Scores, UsageError
from diptych.nn.dense.label_maps import cells, labelled
from diptych.nn.dense.segments import Rule, instances, panoptic

SIZE, GRID = (24, 36), (8, 12)


def random_regions(seed: int, count: int = 6, classes: int = 3) -> Regions:
    g = torch.Generator().manual_seed(seed)
    p = torch.rand(count, classes + 1, generator=g).mul(3).softmax(1)[:, :classes]
    low = torch.randn(count, 1, 3, 4, generator=g) * 4
    masks = F.interpolate(low, GRID, mode="bilinear")[:, 0].sigmoid()
    return Regions(Scores(p.log(), "log_prob"), SIZE, GRID, masks)


@pytest.mark.parametrize("seed", range(6))
def test_the_map_is_that_of_loops_over_pixels(seed: int) -> None:
    regions, things, rule = random_regions(seed), (True, False, True), Rule(0.3, 0.6)
    assert regions.masks is not None
    full = F.interpolate(regions.masks[:, None], SIZE, mode="bilinear", align_corners=False)[:, 0].double().numpy()
    p = regions.scores.values.double().exp().numpy()
    expected, number, of_stuff, labels = np.zeros(SIZE, int), 0, dict[int, int](), list[int]()
    alive = [q for q in range(6) if p[q].max() > 0.3 and p[q].max() > 1 - p[q].sum()]
    owner = np.full(SIZE, -1)
    for y, x in np.ndindex(*SIZE):
        owner[y, x] = max(alive, key=lambda q: (p[q].max() * full[q, y, x], -q)) if alive else -1
    for q in alive:
        inside = (owner == q) & (full[q] >= 0.5)
        if not inside.any() or (owner == q).sum() / (full[q] >= 0.5).sum() < 0.6:
            continue
        k = int(p[q].argmax())
        if things[k] or k not in of_stuff:
            number += 1
            of_stuff[k] = number
            labels.append(k)
        expected[inside] = of_stuff[k]
    result = panoptic(regions, things, rule=rule)
    np.testing.assert_array_equal(result.ids, expected)
    assert [s.label for s in result.segments] == labels
    assert [s.area for s in result.segments] == [int((expected == s.id).sum()) for s in result.segments]


def test_a_dense_map_counts_things_by_their_parts() -> None:
    maps = torch.zeros(3, 4, 6)
    maps[0] = 1.0  # grass everywhere, and two cats that do not touch
    maps[1, 0, 0] = maps[1, 1, 1] = maps[1, 3, 5] = 5.0
    regions = cells(maps, (4, 6))
    result = panoptic(regions, (False, True, True))
    assert [(s.label, s.area, s.thing) for s in result.segments] == [(0, 21, False), (1, 2, True), (1, 1, True)]
    assert result.segments[2].box == (5, 3, 1, 1)
    assert result.ids[0, 0] == result.ids[1, 1] == 2  # corners touch
    assert [s.label for s in panoptic(regions, (False, True, True), void=0).segments] == [1, 1]
    assert len(panoptic(regions, (False, True, True), rule=Rule(least=2)).segments) == 2
    assert len(panoptic(regions).segments) == 2  # nothing is counted unless it is said
    assert [i.label for i in instances(regions, (False, True, True))] == [1, 1]


@pytest.mark.parametrize("dense", [False, True])
def test_pixels_below_the_threshold_are_in_no_segment(dense: bool) -> None:
    """So that the panoptic map and the label map say the same of what is unknown."""
    regions = cells(torch.randn(3, *GRID, generator=torch.Generator().manual_seed(0)), SIZE)
    regions = regions if dense else random_regions(3)
    sure = labelled(regions)[1].numpy()
    threshold = float(np.median(sure))
    whole, part = (panoptic(regions, (True, False, True), threshold=t).ids for t in (None, threshold))
    assert (whole[sure < threshold] > 0).any()
    assert (part[sure < threshold] == 0).all()
    np.testing.assert_array_equal(part[sure >= threshold] > 0, whole[sure >= threshold] > 0)
    assert panoptic(regions, (True, False, True), threshold=1.0).segments == ()


def test_regions_of_one_number_are_one_segment() -> None:
    masks = torch.zeros(2, 1, 4)
    masks[0, 0, 0] = masks[1, 0, 3] = 1.0
    regions = Regions(Scores(torch.tensor([[0.9], [0.8]]).log(), "log_prob"), (1, 4), (1, 4), masks, (True,), (5, 5))
    assert panoptic(regions).ids.tolist() == [[1, 0, 0, 1]]


def test_words_of_a_class_are_merged() -> None:
    masks = torch.ones(1, 1, 2)
    regions = Regions(Scores(torch.tensor([[0.5, 0.1, 0.4]]).log(), "log_prob"), (1, 2), (1, 2), masks)
    (segment,) = panoptic(regions, (True, True), groups=(0, 1, 1)).segments
    assert (segment.label, round(segment.score, 3)) == (0, 0.5)


def test_instances_are_the_best_pairs() -> None:
    regions = random_regions(0)
    assert regions.masks is not None
    found = instances(regions, (True, False, True), most=5)
    full = F.interpolate(regions.masks[:, None], SIZE, mode="bilinear", align_corners=False)[:, 0]
    p = regions.scores.values.exp()
    pairs = sorted(((float(p[q, k]), q, k) for q in range(6) for k in range(3)), reverse=True)[:5]
    assert 1 in {k for _, _, k in pairs}  # which is of stuff: it takes a place, as in the authors' code
    expected = []
    for s, q, k in pairs:
        inside = full[q] >= 0.5
        if k != 1 and bool(inside.any()):
            expected.append((round(s * float(full[q][inside].mean()), 5), k, int(inside.sum())))
    assert sorted((round(i.score, 5), i.label, int(i.mask.sum())) for i in found) == sorted(expected)


def test_wrong_calls_are_refused() -> None:
    with pytest.raises(UsageError, match="2 marks"):
        panoptic(random_regions(0), (True, False))
    with pytest.raises(UsageError, match="log_prob"):
        panoptic(Regions(Scores(torch.zeros(1, 1), "logit"), (1, 1), (1, 1), torch.zeros(1, 1, 1)))
    with pytest.raises(UsageError, match="overlap"):
        Rule(overlap=2.0)
