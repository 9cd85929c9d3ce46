from __future__ import annotations

import numpy as np
import pytest
import torch
from timm.data.mixup import mixup_target

from diptych.nn.spaces.mixed_clips import mixed, soft_targets


def test_targets_are_those_of_timm() -> None:
    labels = torch.tensor([0, 2, 1, 2])
    theirs = mixup_target(labels, 3, lam=1.0, smoothing=0.1)
    torch.testing.assert_close(soft_targets(labels, 3, 0.1), theirs)
    assert torch.equal(soft_targets(labels, 3, 0.0), torch.eye(3)[labels])


@pytest.mark.parametrize("seed", range(12))
def test_mixed_targets_hold_the_share_of_the_mixed_pixels(seed: int) -> None:
    x = torch.stack([torch.full((2, 3, 20, 30), float(i)) for i in range(2)])
    q = torch.eye(2)
    y, p = mixed(x, q, np.random.default_rng(seed))
    assert p.sum(1).tolist() == pytest.approx([1, 1])
    assert y[0].mean().item() == pytest.approx(p[0, 1].item(), abs=1e-5)  # pixels of clip 1 are 1, of clip 0 are 0
    assert torch.equal(y[:, 0], y[:, 1])  # all frames of a clip alike
