from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diptych.backbones.mask_models.sam import SamMasks
from diptych.backbones.sources.vision import sam_space
from diptych.core import MissingHook
from diptych.nn.dense.affinity import (
    correlation,
    guide_affinity,
    last_attention,
    region_means,
    smallest_regions,
    spliced,
)
from tests.support.sam import small_sam
from tests.support.towers import close


def noise(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("mean", [0.1, -0.2, 0.9])
def test_the_guide_by_loops(mean: float) -> None:
    s = torch.nn.functional.normalize(noise(7, 3), dim=1)
    s = s @ s.T
    expected = np.zeros((7, 7))
    for i in range(7):
        row = {j: math.exp(3 * (float(s[i, j]) - 1.2 * mean)) for j in range(7) if s[i, j] >= 1.2 * mean or j == i}
        for j, value in row.items():
            expected[i, j] = value / sum(row.values())
    got = guide_affinity(s, mean, 1.2, 3.0)
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-6)
    if mean == 0.9:
        assert torch.equal(got, torch.eye(7))  # nothing lies above, so each cell is alone


@pytest.mark.parametrize(("factor", "negative"), [(1.2, None), (0.0, None), (3.0, 0.6), (-2.0, 0.6)])
def test_the_correlation_by_loops(factor: float, negative: float | None) -> None:
    w, v = noise(3, 6, 6, seed=1).softmax(-1), noise(3, 6, 4, seed=2) + 0.3
    cosines = np.zeros((3, 6, 6))
    for a in range(3):
        for i in range(6):
            for j in range(6):
                x, y = v[a, i].double().numpy(), v[a, j].double().numpy()
                cosines[a, i, j] = x @ y / np.linalg.norm(x) / np.linalg.norm(y)
    expected = np.zeros((6, 6))
    for i in range(6):
        tau = min(factor * cosines[:, i].mean(), 0.9)
        tau = negative if negative is not None and tau < 0 else tau
        for a in range(3):
            for j in range(6):
                expected[i, j] += float(w[a, i, j]) * (cosines[a, i, j] > tau) / 3
        expected[i] /= expected[i].sum()
    np.testing.assert_allclose(correlation(w, v, factor, negative).numpy(), expected, atol=1e-5)


def test_a_row_without_a_cell_is_the_cell_itself() -> None:
    w = torch.zeros(1, 3, 3)
    assert torch.equal(correlation(w, noise(1, 3, 2), 1.0), torch.eye(3))


def test_means_of_regions_are_the_matrix_of_co_membership() -> None:
    g = torch.Generator().manual_seed(0)
    masks, u = (torch.rand(5, 3, 4, generator=g) > 0.5).float() * torch.rand(5, 3, 4, generator=g), noise(7, 3, 4)
    m = masks.flatten(1).double().numpy()
    matrix = np.zeros((12, 12))
    for i in range(12):
        for j in range(12):
            matrix[i, j] = sum(m[q, i] * m[q, j] / m[q].sum() for q in range(5))
        matrix[i] = matrix[i] / matrix[i].sum() if matrix[i].sum() > 0 else np.eye(12)[i]
    expected = u.flatten(1).double().numpy() @ matrix.T
    np.testing.assert_allclose(region_means(u, masks).flatten(1).numpy(), expected, atol=1e-5)


def test_regions_weigh_small_ones_more_and_none_changes_nothing() -> None:
    masks = torch.tensor([[[1.0, 1.0, 1.0, 1.0]], [[1.0, 1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0, 1.0]]])
    u = torch.tensor([[[0.0, 2.0, 4.0, 6.0]]])
    torch.testing.assert_close(region_means(u, masks)[0, 0], torch.tensor([2.0, 2.0, 4.0, 4.0]))
    assert torch.equal(region_means(u, torch.zeros(2, 1, 4)), u)
    assert torch.equal(region_means(u, torch.eye(4).reshape(4, 1, 4)), u)


def test_a_cell_is_in_its_smallest_region_by_loops() -> None:
    masks = torch.rand(6, 4, 5, generator=torch.Generator().manual_seed(3)) * torch.linspace(0.6, 1, 6)[:, None, None]
    expected = np.zeros(masks.shape, dtype=np.float32)
    areas = [sum(float(v) >= 0.5 for v in m.flatten()) for m in masks]
    for y, x in np.ndindex(4, 5):
        over = [q for q in range(6) if float(masks[q, y, x]) >= 0.5]
        if over:
            expected[min(over, key=lambda q: areas[q]), y, x] = 1
    flat = smallest_regions(masks)
    assert np.array_equal(flat.numpy(), expected)
    assert torch.equal(smallest_regions(flat), flat)
    u = noise(2, 4, 5)
    assert torch.equal(region_means(u, smallest_regions(masks[:0])), u)


def test_nested_regions_do_not_melt() -> None:
    """Seven regions of the whole, as a tree of merges gives them, leave the two halves apart."""
    whole, left = torch.ones(7, 1, 4), torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    u = torch.tensor([[[0.0, 2.0, 6.0, 8.0]]])
    flat = smallest_regions(torch.cat([whole, left]))
    assert torch.equal(region_means(u, flat), torch.tensor([[[1.0, 1.0, 7.0, 7.0]]]))


@torch.no_grad()
def test_sams_last_attention_is_its_own() -> None:
    model = small_sam()
    masks = SamMasks(model)
    x = noise(1, 3, 64, 64)
    caught: dict[str, torch.Tensor] = {}
    attn = model.vision_encoder.layers[-1].attn
    hook = attn.qkv.register_forward_hook(lambda m, inputs, out: caught.update(h=inputs[0], qkv=out))
    model.vision_encoder(x)
    hook.remove()
    eager = type(attn).__mro__[1]
    weights = eager.forward(attn, caught["h"])[1]
    w, v, grid = last_attention(sam_space(masks), x)
    assert grid == (8, 8)
    assert close(w, weights)
    assert close(v, caught["qkv"].reshape(64, 3, 2, 16)[:, 2].transpose(0, 1))


@torch.no_grad()
def test_windows_are_no_global_attention() -> None:
    model = small_sam()
    model.vision_encoder.layers = model.vision_encoder.layers[:2]
    with pytest.raises(MissingHook, match="in windows"):
        last_attention(sam_space(SamMasks(model)), noise(1, 3, 64, 64))


@torch.no_grad()
def test_cells_outside_the_image_are_left_out() -> None:
    space, x = sam_space(SamMasks(small_sam())), noise(1, 3, 64, 64)
    w, v, _ = last_attention(space, x)
    part, values, grid = last_attention(space, x, (6, 5))
    at = torch.tensor([8 * row + column for row in range(6) for column in range(5)])
    assert grid == (6, 5)
    assert close(part, w[:, at][:, :, at])
    assert close(values, v[:, at])


def test_splicing_is_a_mean_over_windows_by_loops() -> None:
    g = torch.Generator().manual_seed(0)
    parts = [(torch.randn(2, 3, 4, generator=g), top, left) for top in (0, 1) for left in (0, 2)]
    got = spliced(parts, 4, 6)
    for y, x in np.ndindex(4, 6):
        seen = [u[:, y - i, x - j] for u, i, j in parts if 0 <= y - i < 3 and 0 <= x - j < 4]
        torch.testing.assert_close(got[:, y, x], torch.stack(seen).mean(0))
