from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from diptych.core import DataError
from diptych.metrics.closed_intervals import wilson
from diptych.metrics.interval import both_ends
from diptych.metrics.segmentation import (
    IGNORE,
    chance,
    class_iou,
    confusion,
    mean_iou,
    miou_difference,
    miou_gain,
    miou_interval,
    pixel_accuracy,
    totals,
)


def images(count: int = 5, classes: int = 4) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    masks = rng.integers(0, classes, (count, 9, 7))
    noisy = np.where(rng.random(masks.shape) < 0.4, rng.integers(0, classes, masks.shape), masks)
    return list(zip(noisy, np.where(rng.random(masks.shape) < 0.1, IGNORE, masks), strict=True))


def total(pairs: list[tuple[np.ndarray, np.ndarray]], classes: int = 4) -> np.ndarray:
    return sum(confusion(p, y, classes) for p, y in pairs)


def test_equals_torchmetrics_over_the_data_set() -> None:
    from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

    pairs, counts = images(), total(images())
    jaccard = MulticlassJaccardIndex(4, average="none", ignore_index=IGNORE)
    accuracy = MulticlassAccuracy(4, average="micro", ignore_index=IGNORE)
    for p, y in pairs:
        jaccard.update(torch.from_numpy(p), torch.from_numpy(y))
        accuracy.update(torch.from_numpy(p), torch.from_numpy(y))
    np.testing.assert_allclose(class_iou(counts), jaccard.compute().numpy(), rtol=1e-6)
    np.testing.assert_allclose(mean_iou(counts), jaccard.compute().mean().item(), rtol=1e-6)
    np.testing.assert_allclose(pixel_accuracy(counts), accuracy.compute().item(), rtol=1e-6)


def test_is_no_mean_of_per_image_values() -> None:
    each = [confusion(p, y, 4) for p, y in images()]
    assert abs(np.mean([mean_iou(c) for c in each]) - mean_iou(sum(each))) > 1e-3


def test_by_hand_with_ignored_pixels() -> None:
    counts = confusion(np.array([[0, 1, 1, 2]]), np.array([[0, 0, 1, IGNORE]]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    np.testing.assert_allclose(class_iou(counts), [0.5, 0.5, np.nan])
    assert mean_iou(counts) == 0.5
    assert pixel_accuracy(counts) == pytest.approx(2 / 3)


def test_a_class_that_is_only_predicted_counts_as_zero() -> None:
    counts = confusion(np.array([0, 0, 1, 2]), np.array([0, 0, 1, 1]), 4)
    assert mean_iou(counts) == pytest.approx((1 + 0.5 + 0) / 3)


def test_no_pixels_are_nan_and_stacks_keep_their_axes() -> None:
    stack = np.stack([np.zeros((3, 3), np.int64), np.eye(3, dtype=np.int64)])
    np.testing.assert_array_equal(mean_iou(stack), [np.nan, 1.0])
    np.testing.assert_array_equal(pixel_accuracy(stack), [np.nan, 1.0])
    assert pixel_accuracy(np.diag([1, 0])) == 1, "one pixel is enough"


@pytest.mark.parametrize(
    ("predicted", "labels", "says"),
    [
        ([[0, 1]], [[0], [1]], "size of their"),
        ([0, 3], [0, 1], "prediction has label 3"),
        ([0, 1], [0, -1], "mask has label -1"),
    ],
)
def test_what_does_not_fit_is_refused(predicted: list[int], labels: list[int], says: str) -> None:
    with pytest.raises(DataError, match=says):
        confusion(np.array(predicted), np.array(labels), 3)


def test_chance_on_even_labels_is_one_over_2k_minus_1() -> None:
    even = np.eye(7, dtype=np.int64) * 10
    assert mean_iou(chance(even)) == pytest.approx(1 / 13)
    drawn = np.random.default_rng(0).integers(0, 4, (300, 400))
    labels = np.random.default_rng(1).choice(4, p=[0.5, 0.3, 0.15, 0.05], size=(300, 400))
    counts = confusion(drawn, labels, 4)
    assert mean_iou(chance(counts)) == pytest.approx(float(mean_iou(counts)), abs=3e-3)


def stacked(seeds: int = 3) -> np.ndarray:
    return np.stack([np.stack([confusion(p, y, 4) for p, y in images(12)])] * seeds)


@pytest.mark.parametrize("classes", [3, 4])
def test_the_interval_has_the_spread_of_a_loop_that_leaves_out_one_image(classes: int) -> None:
    counts = np.stack([confusion(p, y, classes) for p, y in images(12, classes)])
    value = float(mean_iou(counts.sum(0)))
    rest = np.array([mean_iou(np.delete(counts, i, axis=0).sum(0)) for i in range(12)])
    error = np.sqrt(11 / 12 * np.square(rest - rest.mean()).sum())
    cases = value * (1 - value) / error**2 * (1.959964 / stats.t.ppf(0.975, 11)) ** 2
    got = miou_interval(counts[None])
    assert got.value == pytest.approx(value)
    assert (got.low, got.high) == pytest.approx(wilson(value * cases, cases), abs=1e-6)


def test_masks_without_an_error_and_one_image_have_an_interval_too() -> None:
    right = np.tile(np.eye(2, dtype=np.int64), (1, 20, 1, 1))
    assert miou_interval(right).low == pytest.approx(wilson(20, 20)[0], abs=1e-6)
    alone = miou_interval(np.array([[[[5, 1], [2, 4]]]]))
    assert alone.low < 0.01
    assert alone.high > 0.99


def test_a_gain_over_itself_is_nothing_and_over_chance_is_something() -> None:
    counts = stacked()
    same = miou_gain(counts, counts, 0)
    assert same.value == 0
    assert same.low == pytest.approx(0.05 ** (1 / counts.shape[1]) - 1)
    assert miou_gain(counts, chance(counts), 0).low > 0.1
    assert miou_gain(chance(counts), counts, 0).value < 0
    with pytest.raises(DataError, match="one size"):
        miou_gain(counts, counts[:2], 0)


def test_a_gain_with_both_ends_is_students_over_seeds_and_the_bootstrap_of_one() -> None:
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 4, (12, 9, 7))

    def seeds(wrong: float) -> np.ndarray:
        noisy = [np.where(rng.random(labels.shape) < wrong, rng.integers(0, 4, labels.shape), labels) for _ in range(3)]
        return np.stack([[confusion(p, y, 4) for p, y in zip(one, labels, strict=True)] for one in noisy])

    first, second = seeds(0.2), seeds(0.4)
    gain, loss = miou_difference(first, second, 0), miou_difference(second, first, 0)
    assert gain.value == pytest.approx(float(np.mean(mean_iou(first.sum(1)) - mean_iou(second.sum(1)))))
    assert (gain.low, gain.high) == pytest.approx((-loss.high, -loss.low))
    assert 0 < gain.low < gain.value < gain.high
    assert miou_difference(first[:1], second[:1], 0) == both_ends(miou_gain, first[:1], second[:1], 0)
    with pytest.raises(DataError, match="one size"):
        miou_difference(first, second[:2], 0)


def test_totals_give_the_same_metrics_as_confusion_counts() -> None:
    counts = stacked(2)
    few = totals(counts)
    assert few.shape == (*counts.shape[:-1], 3)
    assert totals(few) is few
    np.testing.assert_array_equal(class_iou(few), class_iou(counts))
    np.testing.assert_array_equal(pixel_accuracy(few), pixel_accuracy(counts))
    np.testing.assert_allclose(chance(few), totals(chance(counts)))
    for a, b in (
        (miou_interval(few), miou_interval(counts)),
        (miou_gain(few, chance(few), 3), miou_gain(counts, chance(counts), 3)),
    ):
        assert (a.value, a.low) == (pytest.approx(b.value), pytest.approx(b.low))


def test_the_void_of_many_classes_is_that_of_sixteen_bits() -> None:
    labels = np.array([[255, 299, 65535]], np.uint16)
    counts = confusion(np.array([[255, 0, 7]]), labels, 300)
    assert counts.sum() == 2
    assert counts[255, 255] == counts[299, 0] == 1
