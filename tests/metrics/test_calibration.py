from __future__ import annotations

import numpy as np
import pytest
import torch

from diptych.core import DataError, UsageError
from diptych.metrics.calibration import expected_calibration_error, fit_temperature


def sample(n: int = 500, classes: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, size=n)
    logits = 2 * rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels]
    return torch.from_numpy(logits).softmax(1).numpy(), labels


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_equals_torchmetrics(bins: int) -> None:
    from torchmetrics.functional.classification import multiclass_calibration_error

    p, labels = sample()
    expected = multiclass_calibration_error(
        torch.from_numpy(p), torch.from_numpy(labels), num_classes=6, n_bins=bins, norm="l1"
    )
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
    """Two confidences whose gaps cancel inside one bin and add up across two: 0.5 ends the first of two bins, and 0.51
    lies beyond.
    """
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


def test_a_known_temperature_is_found() -> None:
    """Labels drawn from softmax(z): logits 3 z are three times too sure."""
    rng = np.random.default_rng(0)
    z = 2 * rng.normal(size=(20_000, 5))
    labels = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
    assert fit_temperature(3 * z, labels) == pytest.approx(3, rel=0.05)
    assert fit_temperature(3 * z, labels) == pytest.approx(3 * fit_temperature(z, labels), rel=1e-5)
    assert fit_temperature(1e-5 * z, labels) == pytest.approx(1e-5 * fit_temperature(z, labels), rel=1e-5)


def test_the_temperature_equals_a_search_with_torch() -> None:
    p, labels = sample(200)
    z = torch.from_numpy(np.log(p)) * 2.5
    inverse = torch.ones((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([inverse], lr=0.5, max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-14)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(z.double() * inverse, torch.from_numpy(labels))
        loss.backward()
        return loss

    optimiser.step(closure)
    assert fit_temperature(z.numpy(), labels) == pytest.approx(1 / inverse.item(), rel=1e-4)


def test_separable_data_stay_bounded_and_non_candidates_are_left_out() -> None:
    z = np.array([[2.0, 0.0], [0.0, 2.0]])
    assert 1e-3 <= fit_temperature(z, np.array([0, 1])) < 0.1, "the loss is 0 from some temperature down"
    assert fit_temperature(z, np.array([1, 0])) > 100, "always wrong: only the flattest is right"
    assert 0 < fit_temperature(1e-6 * z, np.array([0, 1])) < 1e-7
    more = np.vstack([[[1.0, -np.inf]], [[0.5, 0.1]], [[0.1, 0.4]]])
    assert np.isfinite(fit_temperature(more, np.array([1, 0, 0])))
    with pytest.raises(DataError, match="candidates"):
        fit_temperature(np.array([[1.0, -np.inf]]), np.array([1]))
    with pytest.raises(DataError, match="NaN"):
        fit_temperature(np.array([[np.nan, 1.0]]), np.array([1]))
