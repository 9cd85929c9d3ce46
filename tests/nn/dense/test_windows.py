from __future__ import annotations

import numpy as np
import pytest
import torch

from diptych.core import Backbone
from diptych.nn.dense.windows import harmonic_map, tower_windows, window_cells, windows_of
from tests.support.dense_colours import DenseColours
from tests.support.small_clip import small_clip


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


def test_windows_are_all_squares_of_cells() -> None:
    assert window_cells((2, 3), 2).tolist() == [[0, 1, 3, 4], [1, 2, 4, 5]]
    assert window_cells((2, 3), 5).tolist() == [[0, 1, 2, 3, 4, 5]]
    assert len(window_cells((7, 7), 3)) == 25


def test_the_map_is_the_harmonic_mean_of_the_windows_that_hold_a_cell() -> None:
    grid, cells = (4, 5), window_cells((4, 5), 2)
    values = torch.rand(len(cells), generator=torch.Generator().manual_seed(0)) + 0.01
    expected = np.zeros(20)
    for u in range(20):
        held = [float(v) for v, w in zip(values, cells.tolist(), strict=True) if u in w]
        expected[u] = len(held) / sum(1 / v for v in held)
    np.testing.assert_allclose(harmonic_map(values, cells, grid).flatten().numpy(), expected, rtol=1e-5)


def test_a_window_of_all_patches_is_the_image_itself_and_others_ignore_the_rest(vit: Backbone) -> None:
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    tower = vit.tower("image")
    with torch.no_grad():
        whole = tower_windows(tower, x, window_cells((2, 2), 2))
        torch.testing.assert_close(whole, vit.image.encode(x), rtol=1e-5, atol=1e-6)
        grid, _, embed = windows_of(vit, x)
        assert grid == (2, 2)
        first = embed(torch.tensor([[0]]))
        changed = x.clone()
        changed[:, :, 16:, 16:] += 5.0
        torch.testing.assert_close(tower_windows(tower, changed, torch.tensor([[0]])), first)


def test_without_a_tower_windows_are_pooled_from_the_map() -> None:
    x, backbone = torch.rand(1, 3, 8, 12), DenseColours()
    grid, _, embed = windows_of(backbone, x)
    assert grid == (2, 3)
    left = embed(window_cells(grid, 2))[0]
    dense = backbone.dense()
    torch.testing.assert_close(left, dense.project(x[0, :, :, :8].mean((1, 2))))
