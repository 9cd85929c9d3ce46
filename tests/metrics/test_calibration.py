from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from diptych.core.errors import DataError, UsageError
from diptych.metrics.calibration import expected_calibration_error


def sample(n: int = 500, classes: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, size=n)
    logits = 2 * rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels]
    return torch.from_numpy(logits).softmax(1).numpy(), labels


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_equals_torchmetrics(bins: int) -> None:
    p, labels = sample()
    expected = multiclass_calibration_error(torch.from_numpy(p), torch.from_numpy(labels), num_classes=6, n_bins=bins, norm="l1")
    assert expected_calibration_error(p, labels, bins) == pytest.approx(float(expected), abs=1e-6)


def test_equals_a_loop() -> None:
    p, labels = sample()
    confidence, total = p.max(1), 0.0
    for m in range(15):
        inside = (confidence > m / 15) & (confidence <= (m + 1) / 15)
        if inside.any():
            total += inside.mean() * abs((p.argmax(1) == labels)[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(p, labels) == pytest.approx(total, abs=1e-12)


def test_the_bins_end_where_the_paper_says() -> None:
    """Two confidences whose gaps cancel inside one bin and add up across two: 0.5 ends the first of two bins, and 0.51 lies beyond."""
    p = np.array([[0.5, 0.3, 0.2], [0.45, 0.35, 0.2], [0.51, 0.29, 0.2]])
    labels = np.array([0, 1, 1])
    assert expected_calibration_error(p, labels, 2) == pytest.approx((abs(0.5 - 0.45) + 0.51) / 3)
    assert expected_calibration_error(p, labels, 1) == pytest.approx(abs(0.5 - 0.45 - 0.51) / 3)


def test_closed_forms() -> None:
    sure = np.tile([1.0, 0.0], (4, 1))
    assert expected_calibration_error(sure, np.zeros(4, int)) == 0
    assert expected_calibration_error(sure, np.ones(4, int)) == 1
    assert expected_calibration_error(sure, np.array([0, 0, 0, 1])) == pytest.approx(0.25)
    assert expected_calibration_error(np.full((4, 4), 0.25), np.arange(4)) == pytest.approx(0)


def test_logits_and_cosines_are_refused() -> None:
    for scores in (np.array([[3.0, -1.0]]), np.array([[0.3, 0.2]]), np.array([[np.nan, 1.0]])):
        with pytest.raises(DataError, match="probabilities"):
            expected_calibration_error(scores, np.array([0]))


def test_bad_calls_are_refused() -> None:
    p, labels = sample(4)
    with pytest.raises(UsageError, match="bins"):
        expected_calibration_error(p, labels, 0)
    with pytest.raises(DataError, match="labels"):
        expected_calibration_error(p, labels[:2])
    with pytest.raises(DataError, match="0 to 5"):
        expected_calibration_error(p, labels + 6)
