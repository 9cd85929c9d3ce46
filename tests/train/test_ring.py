"""The ring gives the loss and the gradients of one process, and keeps the rows of no other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.core import Clock, Embedded, Run, World
from diptych.methods.pretrain.siglip_loss import SigLIPLoss
from diptych.nn.contrastive import sigmoid_pairs, sigmoid_ring
from diptych.train.distributed import gather
from diptych.train.ring import ring
from tests.train.processes import together

CLOCK = Clock(0, 1, 0, torch.Generator())
ROWS = 12


def parameters() -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    drawn = [torch.randn(s, generator=g, dtype=torch.float64) for s in ((6, 4), (5, 4), ())]
    return [t.requires_grad_() for t in (*drawn, torch.tensor(-3.0).double())]


def loss(world: World, p: list[Tensor], chunk: int | None) -> Tensor:
    g = torch.Generator().manual_seed(1)
    each = slice(world.rank * ROWS // world.size, (world.rank + 1) * ROWS // world.size)
    images, texts = (torch.randn(ROWS, n, generator=g).double()[each] for n in (6, 5))
    vectors = {"image": images @ p[0], "text": texts @ p[1]}
    e = Embedded(vectors, lambda a, b: (p[2].exp(), p[3]), gather(world), world.rank, ring=ring(world))
    return SigLIPLoss(chunk=chunk).terms(e, nn.Identity(), CLOCK)["sigmoid"]


def gradients(run: Run, chunk: int | None) -> tuple[float, list[list[float]]]:
    p = parameters()
    value = loss(run.world, p, chunk)
    # Weighted unlike in each process, as where one of several losses counts there alone.
    (value * (1 + run.world.rank)).backward()
    return value.item(), [q.grad.flatten().tolist() for q in p if q.grad is not None]


def stored(world: World, way: str) -> int:
    """Return the numbers that autograd keeps for the backward pass beside the two inputs of 4 x 32."""
    g = torch.Generator().manual_seed(world.rank)
    x, y = (normalize(torch.randn(4, 32, generator=g), dim=-1).requires_grad_() for _ in range(2))
    s, b = torch.tensor(10.0, requires_grad=True), torch.tensor(-10.0, requires_grad=True)
    seen: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        seen[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes() // t.element_size()
        return t

    around = ring(world)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        if way == "ring":
            assert around is not None
            value = sigmoid_ring(x, y, s, b, around)
        else:
            value = sigmoid_pairs(x, gather(world)(y), s, b, 4 * world.rank)
    value.backward()
    return sum(n for at, n in seen.items() if at not in (x.data_ptr(), y.data_ptr()))


def process(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = {f"{chunk}": gradients(run, chunk) for chunk in (None, 1, 3)}
    with torch.no_grad():
        found["without gradient"] = loss(run.world, parameters(), None).item()
    x = torch.ones(2, 3, dtype=torch.bfloat16)
    one = torch.tensor(1.0)
    around = ring(run.world)
    assert around is not None
    with torch.autocast("cpu", torch.bfloat16):
        found["half"] = str(sigmoid_ring(x, x, one, one, around).dtype)
    return found | {way: stored(run.world, way) for way in ("ring", "gathered")}


@pytest.fixture(scope="module", params=[2, 3])
def answers(request) -> list[dict[str, Any]]:
    return together(request.param, process)


@pytest.mark.parametrize("chunk", ["None", "1", "3"])
def test_the_loss_and_gradient_of_one_process(answers, chunk) -> None:
    count = len(answers)
    p = parameters()
    # One process computes what each of several does, on all rows that it needs.
    each = [_alone(p, rank, count) for rank in range(count)]
    for answer, value in zip(answers, each, strict=True):
        assert answer[chunk][0] == pytest.approx(value.item(), rel=1e-9)
    sum(value * (1 + rank) for rank, value in enumerate(each)).backward()
    for i, q in enumerate(p):
        got = torch.tensor([answer[chunk][1][i] for answer in answers], dtype=torch.float64).sum(0)
        torch.testing.assert_close(got, q.grad.flatten(), rtol=1e-9, atol=1e-12)


def _alone(p: list[Tensor], rank: int, count: int) -> Tensor:
    g = torch.Generator().manual_seed(1)
    images, texts = (torch.randn(ROWS, n, generator=g).double() for n in (6, 5))
    x, y = normalize(images @ p[0], dim=-1), normalize(texts @ p[1], dim=-1)
    share = ROWS // count
    return sigmoid_pairs(x[rank * share : (rank + 1) * share], y, p[2].exp(), p[3], rank * share)


def test_the_mean_of_the_losses_is_that_of_the_whole_batch(answers) -> None:
    whole = loss(World(), parameters(), None).item()
    assert sum(a["None"][0] for a in answers) / len(answers) == pytest.approx(whole, rel=1e-9)
    assert sum(a["without gradient"] for a in answers) / len(answers) == pytest.approx(whole, rel=1e-9)


def test_no_rows_of_other_processes_are_kept(answers) -> None:
    for answer in answers:
        assert answer["ring"] <= 4 * 32, "the rows times the scale at most"
        assert answer["gathered"] >= len(answers) * 4 * 32


def test_half_precision_is_summed_in_float32(answers) -> None:
    assert {answer["half"] for answer in answers} == {"torch.float32"}


def test_one_process_has_none() -> None:
    assert ring(World()) is None
