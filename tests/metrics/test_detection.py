from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from diptych.core import DataError, UsageError
from diptych.metrics.detection import (
    alarm_rates,
    auroc,
    average_precision,
    false_alarm_threshold,
    grouped_false_alarm_threshold,
    per_region_overlap,
)


def draw(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.3
    return np.round(rng.normal(0, 1, n) + 0.8 * labels, 1), labels  # rounded: there are ties


@pytest.mark.parametrize("seed", range(5))
def test_areas_equal_scikit_learn_with_ties(seed: int) -> None:
    scores, labels = draw(seed=seed)
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(scores, labels) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    scores, labels = draw(40)
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[labels] for b in scores[~labels]]
    assert auroc(scores, labels.astype(int)) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert auroc(-scores, labels) == pytest.approx(1 - auroc(scores, labels), abs=1e-12)
    assert auroc(np.zeros(40), labels) == pytest.approx(0.5)


def overlap_by_loop(maps: np.ndarray, regions: list[np.ndarray], masks: np.ndarray, limit: float) -> float:
    """Threshold by threshold; ``regions`` are masks of the whole stack."""
    points = [(0.0, 0.0)]
    for t in sorted(set(maps.ravel().tolist()), reverse=True):
        above = maps >= t
        points.append((above[~masks].mean(), np.mean([above[r].mean() for r in regions])))
    area, x, y = 0.0, 0.0, 0.0
    for a, b in points[1:]:
        if a >= limit:
            b = y + (b - y) * (limit - x) / (a - x)
            return (area + (limit - x) * (y + b) / 2) / limit
        area, x, y = area + (a - x) * (y + b) / 2, a, b
    return area / limit


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_overlap_of_regions_equals_a_loop(limit: float) -> None:
    rng = np.random.default_rng(1)
    masks = np.zeros((3, 12, 10), dtype=bool)
    places = [
        (0, slice(1, 3), slice(1, 3)),
        (0, slice(3, 5), slice(3, 6)),
        (2, slice(7, 12), slice(0, 9)),
        (2, slice(0, 1), slice(0, 1)),
    ]
    for place in places:
        masks[place] = True
    regions = []
    for chosen in ((0, 1), (2,), (3,)):  # the first two touch at a corner: one region
        region = np.zeros_like(masks)
        for p in chosen:
            region[places[p]] = True
        regions.append(region)
    maps = np.round(rng.normal(0, 1, masks.shape) + masks, 1)
    assert per_region_overlap(maps, masks, limit=limit) == pytest.approx(
        overlap_by_loop(maps, regions, masks, limit), abs=1e-12
    )


def test_overlap_is_one_for_the_mask_itself_and_half_the_limit_by_chance() -> None:
    masks = np.zeros((2, 200, 200), dtype=bool)
    masks[0, 20:90, 30:90] = masks[1, 100:180, 10:150] = True
    assert per_region_overlap(masks.astype(float), masks) == pytest.approx(1.0)
    assert per_region_overlap(np.random.default_rng(0).random(masks.shape), masks) == pytest.approx(0.15, abs=0.01)
    small = masks.copy()
    small[1, 0, 0] = True  # one pixel weighs as much as a large region
    assert per_region_overlap(masks.astype(float), small) < 0.8


def test_a_threshold_holds_its_rate_on_average() -> None:
    rng = np.random.default_rng(0)
    alarms = [np.mean(rng.normal(size=200) > false_alarm_threshold(rng.normal(size=39), 0.05)) for _ in range(400)]
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.006)
    assert false_alarm_threshold(np.arange(19.0), 0.05) == 18.0
    assert false_alarm_threshold(np.arange(9.0), 0.1) == 8.0
    assert false_alarm_threshold(np.arange(9.0), 0.5) == 4.0
    assert alarm_rates(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0, 0, 1, 1]), 1.0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("scores", "labels", "says"),
    [
        ([1.0, 2.0], [0, 1, 1], "one score per item"),
        ([1.0, np.nan], [0, 1], "not finite"),
        ([1.0, 2.0], [1, 1], "are anomalous"),
        ([1.0, 2.0], [0, 0], "are normal"),
    ],
)
def test_what_cannot_be_ranked_is_refused(scores: list[float], labels: list[int], says: str) -> None:
    for metric in (auroc, average_precision):
        with pytest.raises(DataError, match=says):
            metric(np.array(scores), np.array(labels))


def test_rates_that_cannot_hold_are_refused_with_the_number_that_can() -> None:
    with pytest.raises(DataError, match="at least 19"):
        false_alarm_threshold(np.arange(18.0), 0.05)
    with pytest.raises(DataError, match="not finite"):
        false_alarm_threshold(np.array([np.inf] * 30), 0.05)
    with pytest.raises(UsageError, match="in \\(0, 1\\)"):
        false_alarm_threshold(np.arange(9.0), 1.0)
    with pytest.raises(UsageError, match="in \\(0, 1\\]"):
        per_region_overlap(np.zeros((1, 2, 2)), np.eye(2, dtype=bool)[None], limit=0.0)


def test_groups_of_one_item_give_the_plain_threshold_and_groups_count_alike() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=60)
    for rate in (0.05, 0.1, 0.33):
        assert grouped_false_alarm_threshold(scores, np.arange(60), rate) == false_alarm_threshold(scores, rate)
    groups = np.repeat(np.arange(12), 5)
    assert grouped_false_alarm_threshold(np.repeat(scores[:12], 5), groups, 0.1) == false_alarm_threshold(
        scores[:12], 0.1
    )
    with pytest.raises(DataError, match="12 groups"):
        grouped_false_alarm_threshold(scores, groups, 0.05)


def test_a_new_group_exceeds_the_threshold_of_groups_at_most_at_the_rate() -> None:
    rng, alarms = np.random.default_rng(1), []
    for _ in range(400):
        level = rng.normal(size=20)  # of a day
        sizes = rng.integers(1, 9, 19)
        groups = np.repeat(np.arange(19), sizes)
        scores = level[groups] + 0.1 * rng.normal(size=len(groups))
        threshold = grouped_false_alarm_threshold(scores, groups, 0.1)
        alarms.append(np.mean(level[19] + 0.1 * rng.normal(size=5) > threshold))
    assert np.mean(alarms) <= 0.1 + 3 * np.std(alarms) / 20
