from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from diptych.metrics.frame_consistency import frame_consistency


def test_it_is_the_mean_cosine_of_neighbours() -> None:
    v = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = v.numpy()
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairwise(rows)]
    assert frame_consistency(v) == pytest.approx(np.mean(cosines))
    assert frame_consistency(v * torch.arange(1.0, 6.0)[:, None]) == pytest.approx(np.mean(cosines))


def test_limits_still_opposite_and_too_short() -> None:
    v = torch.tensor([[3.0, 4.0]])
    assert frame_consistency(v.expand(3, -1)) == pytest.approx(1)
    assert frame_consistency(torch.cat([v, -v])) == pytest.approx(-1)
    assert frame_consistency(v) is None
