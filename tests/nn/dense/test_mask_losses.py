from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diptych.nn.dense.mask_losses import dice_loss, focal_loss


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return torch.randn(3, 2, 4, 5, generator=g).softmax(1), (torch.rand(3, 4, 5, generator=g) < 0.3).float()


def test_focal_equals_a_loop_and_torchvision() -> None:
    from torchvision.ops import sigmoid_focal_loss

    s, mask = drawn()
    total = 0.0
    for b in range(3):
        for i in range(4):
            for j in range(5):
                target = np.clip(np.array([1 - mask[b, i, j], mask[b, i, j]]), 1e-5, 1 - 1e-5)
                p = float(target @ s[b, :, i, j].numpy()) + 1e-5
                total -= max(0.0, 1 - p) ** 2 * math.log(p)
    assert focal_loss(s, mask).item() == pytest.approx(total / 60, rel=1e-5)
    logit = s[:, 1].log() - s[:, 0].log()  # two classes: the softmax is a sigmoid of the difference
    assert focal_loss(s, mask).item() == pytest.approx(
        sigmoid_focal_loss(logit, mask, alpha=-1, gamma=2, reduction="mean").item(), rel=1e-3
    )


def test_focal_without_focus_is_cross_entropy_and_a_sure_mistake_is_finite() -> None:
    s, mask = drawn()
    expected = torch.nn.functional.nll_loss(s.log(), mask.long())
    assert focal_loss(s, mask, gamma=0.0).item() == pytest.approx(expected.item(), rel=1e-3)
    sure = torch.stack([mask, 1 - mask], dim=1)
    assert math.isfinite(focal_loss(sure, mask).item())


def test_dice_is_nought_on_the_mask_and_counts_images_alike() -> None:
    s, mask = drawn()
    assert dice_loss(mask, mask).item() == pytest.approx(0.0, abs=1e-6)
    assert dice_loss(torch.zeros(2, 4, 5), torch.zeros(2, 4, 5)).item() == 0.0
    by_hand = []
    for p, m in zip(s[:, 1].numpy(), mask.numpy(), strict=True):
        by_hand.append(1 - (2 * (p * m).sum() + 1) / (p.sum() + m.sum() + 1))
    assert dice_loss(s[:, 1], mask).item() == pytest.approx(float(np.mean(by_hand)), rel=1e-5)
