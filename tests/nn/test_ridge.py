from __future__ import annotations

import numpy as np
import pytest
import torch

from diptych.nn.ridge import ridge_inverse


@pytest.mark.parametrize(("n", "dim"), [(1, 1), (1, 5), (3, 40), (40, 3)])
@pytest.mark.parametrize("ridge", [1e-3, 2.0])
def test_equals_numpys_inverse(n: int, dim: int, ridge: float) -> None:
    a = torch.randn(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = a.clone()
    oracle = np.linalg.inv(a.numpy().T @ a.numpy() + ridge * np.eye(dim))
    np.testing.assert_allclose(ridge_inverse(a, ridge).numpy(), oracle, rtol=1e-8, atol=1e-9 / ridge)
    assert torch.equal(a, before)
