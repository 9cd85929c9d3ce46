from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diptych.core import Embedded
from diptych.nn.view_losses import ViewHeads, byol, nt_xent, simclr, weighed

G = torch.Generator().manual_seed(0)
ONE, TWO = (torch.randn(4, 3, generator=G, dtype=torch.float64) for _ in range(2))


def e() -> Embedded:
    return Embedded({}, lambda a, b: (torch.ones(()), torch.zeros(())), gather=lambda x: x)


def test_simclr_against_a_loop_over_all_other_views() -> None:
    z = [v / v.norm() for v in (*ONE, *TWO)]
    total = 0.0
    for i in range(8):
        logits = [math.exp(float(z[i] @ z[j]) / 0.1) for j in range(8) if j != i]
        total -= math.log(math.exp(float(z[i] @ z[(i + 4) % 8]) / 0.1) / sum(logits))
    assert simclr(ONE, TWO, 0.1, e()).item() == pytest.approx(total / 8, rel=1e-12)  # float64 stays float64


def test_equal_views_of_all_images_cost_the_logarithm_of_the_candidates() -> None:
    alike = torch.ones(5, 3)
    assert simclr(alike, alike, 0.1, e()).item() == pytest.approx(math.log(9))


def test_simclr_of_two_processes_is_that_of_one() -> None:
    z = torch.nn.functional.normalize(torch.cat([ONE[:2], TWO[:2], ONE[2:], TWO[2:]]), dim=-1)
    images = torch.tensor([0, 1, 0, 1, 2, 3, 2, 3])
    halves = []
    for rank in range(2):
        own = slice(2 * rank, 2 * rank + 2)
        both = Embedded({}, e().scale, lambda x: images if x.dtype == torch.long else z, rank)
        halves.append(simclr(ONE[own], TWO[own], 0.1, both))
    torch.testing.assert_close(sum(halves) / 2, simclr(ONE, TWO, 0.1, e()))


def test_byol_is_four_times_the_squared_sine_of_half_the_angle() -> None:
    p, t = torch.tensor([[1.0, 0.0], [2.0, 0.0], [1.0, 0.0]]), torch.tensor([[3.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert byol(p, t).item() == pytest.approx((0 + 2 + 4) / 3)
    by_hand = torch.stack(
        [4 * torch.sin((a @ b / a.norm() / b.norm()).acos() / 2) ** 2 for a, b in zip(ONE, TWO, strict=True)]
    )
    assert byol(ONE, TWO).item() == pytest.approx(by_hand.mean().item(), rel=1e-12)


def test_heads_compare_both_views_with_one_target() -> None:
    torch.manual_seed(0)
    heads = ViewHeads(3, 8, 5, lambda x: x)
    h, target = torch.cat([ONE, TWO]).float(), torch.randn(4, 5)
    q = heads.predictor(heads.projector(h))
    torch.testing.assert_close(heads.predicted(h, target), (byol(q[:4], target) + byol(q[4:], target)) / 2)
    z = heads.simclr(h)
    torch.testing.assert_close(heads.contrasted(h, 0.2, e()), simclr(z[:4], z[4:], 0.2, e()))


def test_nt_xent_is_that_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 5, 7))
    z = np.concatenate([x, y])
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    losses = []
    for i in range(10):
        others = [np.exp(z[i] @ z[j] / 0.3) for j in range(10) if j != i]
        losses.append(-np.log(np.exp(z[i] @ z[(i + 5) % 10] / 0.3) / sum(others)))
    ours = nt_xent(torch.from_numpy(x), torch.from_numpy(y), 0.3)
    assert ours.item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_weight_of_the_intra_loss_settles_where_its_derivative_is_zero() -> None:
    w = torch.tensor(1.0, requires_grad=True)
    (slope,) = torch.autograd.grad(weighed(torch.tensor(3.0), torch.tensor(0.25), w), w)
    assert slope.item() == pytest.approx(-2 * 0.25 + 0.5)  # -2 intra / w^3 + 1 / (w + 1)
