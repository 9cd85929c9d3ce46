from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from diptych.core import Embedded, UsageError
from diptych.methods.pretrain.cloob import CLOOB, info_loob, retrieve
from tests.methods.pretrain.oracle import CLOCK
from tests.support.refused import refused


def unit(n: int, seed: int, d: int = 6) -> torch.Tensor:
    return normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def embedded(x, y, gather=lambda t: t, rank=0) -> Embedded:
    return Embedded({"image": x, "text": y}, lambda a, b: (torch.tensor(1.0), torch.tensor(0.0)), gather, rank)


def loss(x, y, **more) -> torch.Tensor:
    return sum(CLOOB(**more).terms(embedded(x, y), nn.Identity(), CLOCK).values())  # type: ignore[return-value]


def by_loops(x: np.ndarray, y: np.ndarray, beta: float, inverse: float) -> float:
    def look(q, memory):
        rows = []
        for one in q:
            w = np.array([math.exp(beta * float(one @ m)) for m in memory])
            found = sum(wi * m for wi, m in zip(w / w.sum(), memory, strict=True))
            rows.append(found / np.linalg.norm(found))
        return rows

    def bound(a, b):
        n, total = len(a), 0.0
        for i in range(n):
            total += (
                -float(a[i] @ b[i])
                + math.log(sum(math.exp(inverse * float(a[i] @ b[j])) for j in range(n) if j != i)) / inverse
            )
        return total / n

    return bound(look(x, x), look(y, x)) + bound(look(y, y), look(x, y))


@pytest.mark.parametrize(("beta", "inverse"), [(8.0, 30.0), (14.3, 14.3), (2.0, 5.0)])
def test_against_loops(beta: float, inverse: float) -> None:
    x, y = unit(7, 1), unit(7, 2)
    assert loss(x, y, beta=beta, inverse_temperature=inverse).item() == pytest.approx(
        by_loops(x.numpy(), y.numpy(), beta, inverse), rel=1e-10
    )


def test_beta_zero_learns_nothing() -> None:
    x, y = unit(5, 1).requires_grad_(), unit(5, 2).requires_grad_()
    value = loss(x, y, beta=0.0)
    assert value.item() == pytest.approx(2 * (math.log(4) / 30))
    value.backward()
    assert max(x.grad.abs().max(), y.grad.abs().max()) < 1e-12  # type: ignore[union-attr]


def test_a_sharp_look_up_finds_the_entry_itself() -> None:
    x, y = unit(6, 1), unit(6, 2)
    torch.testing.assert_close(retrieve(x, x, 1e6), x)
    torch.testing.assert_close(retrieve(y, x, 0.0), normalize(x.mean(0), dim=0).expand(6, -1))


def test_the_bound_of_orthonormal_pairs_in_closed_form() -> None:
    x = torch.eye(6).double()
    assert info_loob(x, x, 0.1).item() == pytest.approx(0.1 * math.log(5) - 1)


def test_the_gradient_of_a_good_pair_does_not_saturate() -> None:
    cosine = torch.tensor(0.99, dtype=torch.float64, requires_grad=True)
    a = torch.eye(4).double()
    b = torch.eye(4).double().clone()
    b = torch.cat([(cosine * a[0] + (1 - cosine**2).sqrt() * a[3])[None], b[1:]])
    info_loob(a[:1], b[:3], 1 / 30).backward()
    assert cosine.grad.item() == pytest.approx(-1.0)  # type: ignore[union-attr]  # InfoNCE's would be about 1e-12


def test_two_processes_make_the_loss_of_one_in_value_and_gradient() -> None:
    x, y = unit(6, 1).requires_grad_(), unit(6, 2).requires_grad_()
    whole = torch.autograd.grad(loss(x, y), (x, y))
    shares = []
    for rank in range(2):
        rows = slice(3 * rank, 3 * rank + 3)
        e = embedded(x[rows], y[rows], lambda t, rows=rows: x if torch.allclose(t, x[rows]) else y, rank)
        shares.append(sum(CLOOB().terms(e, nn.Identity(), CLOCK).values()))
    torch.testing.assert_close((shares[0] + shares[1]) / 2, loss(x, y))
    parts = torch.autograd.grad((shares[0] + shares[1]) / 2, (x, y))
    # the rows are unit already, so only the part along the sphere is common to both ways of computing
    for a, b, v in zip(parts, whole, (x, y), strict=True):
        along = lambda g, v=v: g - (g * v).sum(1, keepdim=True) * v  # noqa: E731
        torch.testing.assert_close(along(a), along(b))


def test_without_look_up_it_is_the_bound_alone() -> None:
    x, y = unit(6, 1), unit(6, 2)
    torch.testing.assert_close(loss(x, y, beta=None), info_loob(x, y, 1 / 30) + info_loob(y, x, 1 / 30))


def test_one_pair_and_wrong_numbers_are_refused() -> None:
    with pytest.raises(UsageError, match="at least two pairs in a batch, got 1"):
        loss(unit(1, 1), unit(1, 2))
    refused(CLOOB, {"beta": -1.0}, {"inverse_temperature": 0.0})
