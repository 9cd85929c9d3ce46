from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diptych.core import Backbone, MissingHook
from diptych.features.visual import early, unlike
from tests.support.backbone import SmallBackbone
from tests.support.small_clip import small_clip


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / Path("vit"))


def test_it_is_the_first_block_and_gradients_pass(vit: Backbone) -> None:
    side = vit.image.size
    assert side is not None
    x = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = early(vit, x)
    tower = vit.tower("image")
    torch.testing.assert_close(found, tower.blocks(tower.start(vit.image.inputs(list(x))), 0, 1).h)
    (grad,) = torch.autograd.grad(found.sum(), [x])
    assert float(grad.abs().sum()) > 0
    assert early(vit, x[:, :, :7, :9]).shape == found.shape
    with pytest.raises(MissingHook):
        early(SmallBackbone(), x)


def test_differences_against_numpy() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(3, 5, 4, generator=g), torch.randn(3, 5, 4, generator=g)
    local, whole = unlike(a, b)
    for i in range(3):
        rows = [
            np.sum((p / np.linalg.norm(p) - q / np.linalg.norm(q)) ** 2)
            for p, q in zip(a[i].numpy(), b[i].numpy(), strict=True)
        ]
        p, q = a[i].numpy().mean(0), b[i].numpy().mean(0)
        np.testing.assert_allclose(local[i], np.mean(rows), rtol=1e-5)
        np.testing.assert_allclose(whole[i], 1 - p @ q / np.linalg.norm(p) / np.linalg.norm(q), rtol=1e-4)
    assert all(float(t.abs().max()) < 1e-6 for t in unlike(a, a))
