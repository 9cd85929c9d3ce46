from __future__ import annotations

import numpy as np
import pytest

from diptych.core import DataError, UsageError
from diptych.metrics.blind_pairs import blind_pairs, right_pairs, thresholds


def unit(n: int, d: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("block", [1, 7, 100])
def test_pairs_are_those_of_all_comparisons(block: int) -> None:
    first, second = unit(40, 3, 0), unit(40, 4, 1)
    c, d = first @ first.T, second @ second.T
    expected = {(i, j) for i in range(40) for j in range(i + 1, 40) if c[i, j] > 0.8 and d[i, j] < 0.1}
    pairs, cosines = blind_pairs(first, second, 0.8, 0.1, k=39, block=block)
    assert {tuple(p) for p in pairs.tolist()} == expected
    assert len(expected) > 5
    assert (np.diff(cosines[:, 0]) <= 0).all()
    assert cosines == pytest.approx(np.array([[c[i, j], d[i, j]] for i, j in pairs]))
    few, _ = blind_pairs(first, second, 0.8, 0.1, k=1, block=block)
    assert {tuple(p) for p in few.tolist()} < expected


def test_thresholds_are_quantiles_of_pairs() -> None:
    first, second = unit(60, 5, 2), unit(60, 5, 3)
    upper = np.triu_indices(60, 1)
    similar, different = thresholds(first, second, 0.1, 0.3, np.random.default_rng(0))
    assert ((first @ first.T)[upper] > similar).mean() == pytest.approx(0.1, abs=0.03)
    assert ((second @ second.T)[upper] < different).mean() == pytest.approx(0.3, abs=0.03)


def test_each_text_must_choose_its_picture() -> None:
    scores = np.random.default_rng(0).standard_normal((4000, 2, 2))
    assert right_pairs(scores).mean() == pytest.approx(0.25, abs=0.03)
    deaf = np.repeat(scores[:, :1], 2, axis=1)
    assert right_pairs(deaf).sum() == 0
    assert right_pairs(np.zeros((1, 2, 2))).tolist() == [False]


def test_one_picture_has_no_pair_and_bad_numbers_are_refused() -> None:
    one = unit(1, 3, 0)
    pairs, cosines = blind_pairs(one, one, 0.0, 1.0)
    assert (pairs.shape, cosines.shape) == ((0, 2), (0, 2))
    with pytest.raises(DataError, match="same pictures, got 1 and 2"):
        blind_pairs(one, unit(2, 3, 0), 0.5, 0.5)
    with pytest.raises(UsageError, match="got 0 and 9"):
        blind_pairs(one, one, 0.5, 0.5, k=0, block=9)
    with pytest.raises(DataError, match="two pictures at least, got 1"):
        thresholds(one, one, 0.1, 0.1, np.random.default_rng(0))
    with pytest.raises(UsageError, match=r"in \(0, 1\), got 1.0 and 0.1"):
        thresholds(unit(3, 3, 0), unit(3, 3, 0), 1.0, 0.1, np.random.default_rng(0))
