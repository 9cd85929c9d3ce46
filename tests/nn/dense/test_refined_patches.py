"""Patches that are averaged by learnt affinities, and a learnt background."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.nn.dense.refined_patches import affinity, objectness, pooled


def drawn(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def test_affinity_and_pooling_by_loops() -> None:
    """Against NumPy, one window, one patch, one neighbour at a time."""
    g, f = drawn(2, 3, 4, 5), drawn(2, 6, 4, 5, seed=1)
    weight, bias = drawn(7, 3, 3, 3, seed=2), drawn(7, seed=3)
    got, mixed = affinity(g, weight, bias), pooled(f, affinity(g, weight, bias), 0.2)
    for n in range(2):
        padded = np.pad(g[n].numpy().astype(np.float64), ((0, 0), (1, 1), (1, 1)), mode="edge")
        e = np.zeros((20, 7))
        for y in range(4):
            for x in range(5):
                for k in range(7):
                    e[5 * y + x, k] = (padded[:, y : y + 3, x : x + 3] * weight[k].numpy()).sum() + bias[k].item()
        e /= np.linalg.norm(e, axis=1, keepdims=True)
        flat = f[n].flatten(1).T.numpy().astype(np.float64)
        for i in range(20):
            total, weights = np.zeros(6), 0.0
            for j in range(20):
                a = float(e[i] @ e[j])
                assert got[n, i, j].item() == pytest.approx(a, abs=1e-5)
                if a >= 0.2:
                    total += a * flat[j]
                    weights += a
            np.testing.assert_allclose(mixed[n].flatten(1).T[i].numpy(), total / (weights + 1e-6), atol=1e-4)


def test_objectness_is_a_weighted_sum_of_the_unit_cell() -> None:
    g, weight, bias = drawn(1, 3, 2, 2), drawn(1, 3, 1, 1, seed=1), drawn(1, seed=2)
    cell = g[0, :, 1, 0].numpy()
    assert objectness(g, weight, bias)[0, 1, 0].item() == pytest.approx(
        float(cell / np.linalg.norm(cell) @ weight.flatten().numpy() + bias.item())
    )


def test_limits_of_the_threshold() -> None:
    f = drawn(1, 6, 3, 3)
    alone = pooled(f, torch.eye(9)[None], 0.2)
    torch.testing.assert_close(F.normalize(alone, dim=1), F.normalize(f, dim=1))
    assert torch.equal(pooled(f, 0.9 * torch.eye(9)[None], 0.95), torch.zeros_like(f))
    everyone = pooled(f, torch.ones(1, 9, 9), -1.0)
    torch.testing.assert_close(everyone, f.mean((2, 3), keepdim=True).expand_as(f), rtol=1e-5, atol=1e-6)
