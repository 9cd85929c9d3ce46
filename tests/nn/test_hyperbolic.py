from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diptych.nn.hyperbolic import clipped, distance, exponential, into_ball, mobius_add, plane_logits, riemannian

C = 0.1


def points(n: int = 6, d: int = 5, scale: float = 0.6, seed: int = 0) -> torch.Tensor:
    return into_ball(scale * torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), C)


def test_everything_equals_geoopt() -> None:
    geoopt = pytest.importorskip("geoopt", reason="the oracle of the Poincare ball is geoopt")
    ball = geoopt.PoincareBall(c=torch.tensor(C, dtype=torch.float64))
    x, y, v = points(seed=1), points(seed=2), points(scale=1.5, seed=3)
    torch.testing.assert_close(mobius_add(x, y, C), ball.mobius_add(x, y), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(distance(x, y, C), ball.dist(x, y), rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(
        exponential(v, torch.zeros(5, dtype=torch.float64), C), ball.expmap0(v), rtol=1e-7, atol=1e-9
    )
    torch.testing.assert_close(exponential(v, x[:1], C), ball.expmap(x[:1], v), rtol=1e-7, atol=1e-9)
    for k in range(3):
        own = plane_logits(x, y[k : k + 1], v[k : k + 1], C)[:, 0]
        theirs = ball.dist2plane(x, y[k], v[k], signed=True, scaled=True)
        factor = 2 / (1 - C * (y[k] ** 2).sum())  # geoopt scales by |a|, the published logit by lambda_p |a| too
        torch.testing.assert_close(own, theirs * factor, rtol=1e-6, atol=1e-8)


def test_the_logit_equals_a_loop_over_planes() -> None:
    y, p, a = points(4, 3, seed=4).numpy(), points(2, 3, seed=5).numpy(), points(2, 3, seed=6).numpy()
    expected = np.zeros((4, 2))
    for i in range(4):
        for k in range(2):
            x, z, root = -p[k], y[i], math.sqrt(C)
            xz, xx, zz = x @ z, x @ x, z @ z
            u = ((1 + 2 * C * xz + C * zz) * x + (1 - C * xx) * z) / (1 + 2 * C * xz + C * C * xx * zz)
            lam, size = 2 / (1 - C * xx), np.linalg.norm(a[k])
            expected[i, k] = lam * size / root * math.asinh(2 * root * (u @ a[k]) / ((1 - C * u @ u) * size))
    got = plane_logits(torch.tensor(y), torch.tensor(p), torch.tensor(a), C)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-9)


def test_a_flat_ball_is_euclidean_space() -> None:
    x, y = points(seed=1), points(seed=2)
    torch.testing.assert_close(mobius_add(x, y, 1e-9), x + y, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(distance(x, y, 1e-9), 2 * (x - y).norm(dim=-1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        plane_logits(x, y[:2], y[2:4], 1e-9), 4 * (x[:, None] - y[:2]).mul(y[2:4]).sum(-1), rtol=1e-4, atol=1e-5
    )


def test_nothing_leaves_the_ball_and_long_vectors_are_clipped() -> None:
    far = 1e3 * torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    assert (exponential(far, torch.zeros(4), C).norm(dim=-1) < 1 / C**0.5).all()
    assert torch.isfinite(distance(into_ball(far, C), -into_ball(far, C), C)).all()
    assert clipped(far, 2.0).norm(dim=-1).max() <= 2.0 + 1e-4
    short = 0.1 * far / far.norm(dim=-1, keepdim=True)
    assert torch.equal(clipped(short, 2.0), short)
    assert torch.isfinite(exponential(torch.zeros(1, 4), torch.zeros(4), C)).all()


def test_the_gradient_is_scaled_by_the_inverse_metric() -> None:
    y = points(seed=7).requires_grad_()
    riemannian(y, C).sum().backward()
    assert y.grad is not None
    expected = ((1 - C * (y.detach() ** 2).sum(-1, keepdim=True)) ** 2 / 4).expand_as(y)
    torch.testing.assert_close(y.grad, expected)
