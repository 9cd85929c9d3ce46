from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from diptych.features.heads import logits
from diptych.nn.descent import Adam, Momentum, along_cosine, cosine_slope, entropy_slope, unit, unit_slope
from tests.support.backbone import SmallBackbone


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda at: Momentum(at, 0.9), lambda at: torch.optim.SGD([at], momentum=0.9)),
        (lambda at: Adam(at), lambda at: torch.optim.Adam([at])),
        (lambda at: Adam(at, 1e-4, 0.01), lambda at: torch.optim.AdamW([at], eps=1e-4)),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_steps_are_those_of_torch_bit_by_bit(
    ours: Callable[[Tensor], Any], theirs: Callable[[Tensor], torch.optim.Optimizer], seed: int
) -> None:
    g = torch.Generator().manual_seed(seed)
    at = torch.randn(3, 5, generator=g)
    other = at.clone().requires_grad_()
    descent, optimiser = ours(at), theirs(other)
    for step in range(20):
        slope, rate = torch.randn(3, 5, generator=g), along_cosine(0.1, step, 20)
        descent.step(slope, rate)
        other.grad, optimiser.param_groups[0]["lr"] = slope, rate
        optimiser.step()
        assert torch.equal(at, other)


def test_the_cosine_is_that_of_torch() -> None:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 7)
    for step in range(8):
        assert along_cosine(0.3, step, 7) == pytest.approx(schedule.get_last_lr()[0], rel=1e-12, abs=1e-15)
        optimiser.step()
        schedule.step()


def test_slopes_are_those_of_autograd() -> None:
    g, backbone = torch.Generator().manual_seed(0), SmallBackbone()
    x, y = normalize(torch.randn(9, 6, generator=g), dim=1), torch.arange(9) % 4
    w = (3 * torch.randn(4, 6, generator=g)).requires_grad_()
    cross_entropy(logits(backbone, x, normalize(w, dim=1)), y).backward()  # type: ignore[no-untyped-call]
    assert w.grad is not None
    rows, lengths = unit(w.detach())
    torch.testing.assert_close(rows, normalize(w.detach(), dim=1), rtol=0, atol=0)
    torch.testing.assert_close(unit_slope(cosine_slope(backbone, x, rows, y).T @ x, rows, lengths), w.grad)
    values = torch.randn(9, 4, generator=g).requires_grad_()
    cross_entropy(values, y).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(entropy_slope(values.detach(), y), values.grad)


def test_rows_of_zeros_stay_finite() -> None:
    rows, lengths = unit(torch.zeros(1, 3))
    assert not rows.any()
    assert unit_slope(torch.ones(1, 3), rows, lengths).isfinite().all()
