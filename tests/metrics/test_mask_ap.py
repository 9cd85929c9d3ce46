from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diptych.core import DataError
from diptych.metrics.mask_ap import THRESHOLDS, class_ap, mask_ap, matched

SIZE, CLASSES = (24, 30), 3


def rectangles(rng: np.random.Generator, count: int) -> np.ndarray:
    masks = np.zeros((count, *SIZE), dtype=bool)
    for mask in masks:
        top, left = rng.integers(0, 16), rng.integers(0, 20)
        mask[top : top + rng.integers(4, 9), left : left + rng.integers(4, 11)] = True
    return masks


def image(seed: int, crowds: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth, y = rectangles(rng, 5), rng.integers(0, CLASSES, 5)
    moved = np.stack([np.roll(m, rng.integers(-2, 3, 2), (0, 1)) for m in truth])
    masks = np.concatenate([moved, rectangles(rng, 4)])
    labels = np.concatenate(
        [np.where(rng.random(5) < 0.8, y, rng.integers(0, CLASSES, 5)), rng.integers(0, CLASSES, 4)]
    )
    crowd = rng.random(5) < 0.3 if crowds else np.zeros(5, dtype=bool)
    return {"masks": masks, "scores": rng.random(9), "labels": labels, "truth": truth, "y": y, "crowd": crowd}


@pytest.mark.parametrize("crowds", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_that_of_pycocotools(seed: int, crowds: bool) -> None:
    from torchmetrics.detection import MeanAveragePrecision

    images = [image(10 * seed + i, crowds) for i in range(4)]
    oracle = MeanAveragePrecision(
        iou_type="segm",
        class_metrics=True,
        backend="pycocotools",
        iou_thresholds=THRESHOLDS.tolist(),  # its own are rounded to single precision
        rec_thresholds=np.linspace(0, 1, 101).tolist(),
    )
    for i in images:
        names = ("masks", "scores", "labels")
        target = {"masks": i["truth"], "labels": i["y"], "iscrowd": i["crowd"].astype(int)}
        oracle.update([{n: torch.tensor(i[n]) for n in names}], [{n: torch.tensor(v) for n, v in target.items()}])
    expected = oracle.compute()
    ours = [matched(i["masks"], i["scores"], i["labels"], i["truth"], i["y"], CLASSES, i["crowd"]) for i in images]
    assert 0.02 < float(expected["map"]) < 0.95
    assert mask_ap(ours) == pytest.approx(float(expected["map"]), abs=1e-6)
    by_class = dict(zip(expected["classes"].tolist(), expected["map_per_class"].tolist(), strict=True))
    for k, value in enumerate(np.nanmean(class_ap(ours), axis=0)):
        assert by_class.get(k, value) == pytest.approx(value, abs=1e-6)


def test_the_truth_itself_is_perfect_and_nothing_is_nothing() -> None:
    i = image(0, crowds=False)
    assert mask_ap([matched(i["truth"], [0.5] * 5, i["y"], i["truth"], i["y"], CLASSES)]) == 1.0
    none = np.zeros((0, *SIZE), dtype=bool)
    assert mask_ap([matched(none, [], [], i["truth"], i["y"], CLASSES)]) == 0.0
    assert math.isnan(mask_ap([matched(i["masks"], i["scores"], i["labels"], none, [], CLASSES)]))


def test_sizes_must_agree() -> None:
    with pytest.raises(DataError, match="one size"):
        matched(np.zeros((1, 2, 2), dtype=bool), [1.0], [0], np.zeros((1, 3, 2), dtype=bool), [0], 1)
