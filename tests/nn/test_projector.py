from __future__ import annotations

import torch
from torch import nn

from diptych.nn.projector import GatheredNorm, projector


def rows(count: int = 6) -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    return (3 + 2 * torch.randn(count, 4, generator=g, dtype=torch.float64)).requires_grad_()


def test_equals_torch_in_value_and_gradient() -> None:
    ours, theirs = GatheredNorm(4).double(), nn.BatchNorm1d(4, track_running_stats=False).double()
    for norm in (ours, theirs):
        nn.init.constant_(norm.weight, 1.5)
        nn.init.constant_(norm.bias, 0.5)
    weights = torch.arange(24.0, dtype=torch.float64).reshape(6, 4)
    grads = []
    for norm in (ours, theirs):
        x = rows()
        y = norm(x)
        grads.append((y, *torch.autograd.grad((y * weights).sum(), [x, norm.weight, norm.bias])))
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_evaluation_is_training_and_rows_of_other_processes_count() -> None:
    x = rows()
    norm = GatheredNorm(4).double()
    assert torch.equal(norm(x), norm.eval()(x))
    whole = norm(x)[:3]
    other = iter([x[3:].mean(0, keepdim=True), (x[3:] - x.mean(0)).square().mean(0, keepdim=True)])
    half = GatheredNorm(4, lambda own: torch.cat([own, next(other)])).double()
    torch.testing.assert_close(half(x[:3]), whole)


def test_half_precision_is_normalised_in_float32() -> None:
    assert GatheredNorm(4)(rows().detach().bfloat16()).dtype == torch.float32


def test_a_projector_has_norms_between_its_layers_only() -> None:
    net = projector(4, 8, 2, layers=3)
    assert [type(m).__name__ for m in net] == ["Linear", "GatheredNorm", "ReLU"] * 2 + ["Linear"]
    assert net(rows().detach().float()).shape == (6, 2)
    assert [type(m).__name__ for m in projector(4, 8, 2, layers=1)] == ["Linear"]
