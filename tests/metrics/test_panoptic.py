from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diptych.core import DataError
from diptych.metrics.panoptic import mean_pq, panoptic_counts, panoptic_quality

CLASSES, THINGS = 4, (0, 1)


def maps(seed: int, number: int = 3) -> list[np.ndarray]:
    """Blocks of random classes and segments; stuff is one segment a picture, as torchmetrics has it."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(number):
        small = np.stack([rng.integers(0, CLASSES, (4, 5)), rng.integers(1, 3, (4, 5))], axis=-1)
        small[..., 1] = np.where(np.isin(small[..., 0], THINGS), small[..., 1], 0)
        found.append(np.kron(small, np.ones((6, 6, 1), dtype=np.int64)))
    return found


def disturbed(y: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    p = y.copy()
    p[:, : rng.integers(1, 9)] = y[:, 12:13]
    return np.roll(p, rng.integers(0, 3), axis=0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.filterwarnings("ignore")
def test_it_is_torchmetrics_panoptic_quality(seed: int) -> None:
    from torchmetrics.detection import PanopticQuality

    truth = maps(seed)
    predicted = [disturbed(y, seed + 10 * i) for i, y in enumerate(truth)]
    oracle = PanopticQuality(things=set(THINGS), stuffs={2, 3}, return_sq_and_rq=True, return_per_class=True)
    for p, y in zip(predicted, truth, strict=True):
        oracle.update(torch.tensor(p)[None], torch.tensor(y)[None])
    ours = panoptic_quality(
        np.sum([panoptic_counts(p, y, CLASSES) for p, y in zip(predicted, truth, strict=True)], axis=0)
    )
    expected = oracle.compute().numpy()
    stacked = np.nan_to_num(np.stack([ours["pq"], ours["sq"], ours["rq"]], axis=-1))
    np.testing.assert_allclose(stacked, expected, atol=1e-6)
    assert expected[:, 0].max() > 0.3


def test_pq_is_sq_times_rq_and_perfect_is_one() -> None:
    y = maps(1)[0]
    q = panoptic_quality(panoptic_counts(y, y, CLASSES))
    assert mean_pq(panoptic_counts(y, y, CLASSES)) == 1.0
    np.testing.assert_allclose(q["pq"], q["sq"] * q["rq"])


def test_void_counts_in_no_union_and_excuses_what_lies_on_it() -> None:
    y = np.zeros((1, 8, 2), dtype=int)
    y[0, :, 1] = 1
    y[0, 4:, 0] = 255
    p = np.zeros((1, 8, 2), dtype=int)  # one segment over all: half of it is void
    p[..., 1] = 7
    assert panoptic_counts(p, y, 1).tolist() == [[1.0, 1.0, 0.0, 0.0]]
    p[0, 4:, 1] = 8  # a second one, wholly on void: no false alarm
    assert panoptic_counts(p, y, 1).tolist() == [[1.0, 1.0, 0.0, 0.0]]
    p[0, 3, 1] = 8  # still mostly on void, and the match is smaller
    assert panoptic_counts(p, y, 1).tolist() == [[0.75, 1.0, 0.0, 0.0]]


def test_classes_that_do_not_occur_count_nowhere() -> None:
    y = np.zeros((2, 2, 2), dtype=int)
    counts = panoptic_counts(y, y, 3)
    assert mean_pq(counts) == 1.0
    assert math.isnan(mean_pq(counts, [1, 2]))


def test_wrong_maps_are_refused() -> None:
    y = np.zeros((2, 2, 2), dtype=int)
    with pytest.raises(DataError, match=r"\(H, W, 2\)"):
        panoptic_counts(y[..., 0], y[..., 0], 3)
    with pytest.raises(DataError, match="class 3"):
        panoptic_counts(y + 3, y, 3)
