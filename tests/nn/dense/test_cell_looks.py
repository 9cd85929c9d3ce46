from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from diptych.nn.dense.cell_looks import cell_looks, cielab, log_odds


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((1.0, 0.0, 0.0), (53.24, 80.09, 67.20)),
        ((0.0, 1.0, 0.0), (87.73, -86.18, 83.18)),
        ((0.0, 0.0, 1.0), (32.30, 79.19, -107.86)),
        ((1.0, 1.0, 1.0), (100.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        ((0.5, 0.5, 0.5), (53.39, 0.0, 0.0)),
    ],
)
def test_primaries_have_the_colours_of_the_standards(rgb: tuple[float, ...], lab: tuple[float, ...]) -> None:
    torch.testing.assert_close(cielab(torch.tensor(rgb)), torch.tensor(lab), atol=0.02, rtol=0)


def test_contrast_is_that_within_a_cell_and_height_runs_down() -> None:
    pixels = torch.zeros(3, 32, 32)
    pixels[:, :12, :8] = 1.0  # the first cell has a white and a black part, and so has no other
    contrast = cell_looks(pixels, (2, 2))[3]
    assert 3.5 < contrast[0, 0] < torch.tensor(51.0).log(), "half of the range, less what resizing smooths"
    assert contrast.flatten()[1:].max() == 0
    torch.testing.assert_close(cell_looks(pixels, (2, 2))[4], torch.tensor([[0.0, 0.0], [1.0, 1.0]]))


def test_log_odds_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    features, looks, photo = rng.normal(size=(5, 2, 3)), rng.uniform(0.5, 2, (2, 5, 2)), rng.uniform(0.5, 2, (5, 2))

    def density(look: np.ndarray) -> np.ndarray:
        return np.prod([norm(*look[i]).pdf(features[i]) for i in range(5)], axis=0)

    expected = np.log(density(looks[0]) + density(looks[1])) - np.log(density(photo))
    got = log_odds(torch.from_numpy(features), torch.from_numpy(looks), torch.from_numpy(photo))
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-9)
