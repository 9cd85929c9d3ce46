"""Gradients that are averaged in the backward pass: the means of torch's DistributedDataParallel, bit by bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from diptych.core import MissingHook, Run, World
from diptych.train.averaging import BUCKET, Averaging
from tests.train.processes import together


def net(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 7), nn.GELU(), nn.Linear(7, 2))
    return layers.to(dtype)


def lost(model: nn.Module, run: Run, number: int) -> Tensor:
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(10 * run.world.rank + number))
    value: Tensor = model(x).square().mean()
    return value


def grads(model: nn.Module) -> list[Any]:
    return [None if p.grad is None else p.grad.tolist() for p in model.parameters()]


def ours(run: Run, size: int) -> tuple[list[Any], int]:
    model = net()
    averaging = Averaging(model.parameters(), run.world, size)
    lost(model, run, 0).backward()
    value = lost(model, run, 1)
    averaging.start()
    value.backward()
    early = len(averaging._sent)
    averaging.finish()
    averaging.close()
    return grads(model), early


def theirs(run: Run) -> list[Any]:
    model = net()
    wrapped = DistributedDataParallel(model)
    with wrapped.no_sync():
        lost(wrapped, run, 0).backward()
    lost(wrapped, run, 1).backward()
    return grads(model)


def absent(run: Run) -> dict[str, Any]:
    lonely = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1).double())]
    averaging = Averaging(lonely, run.world)
    averaging.start()
    if run.world.rank == 0:
        (lonely[0].sum() + lonely[2].sum() * 3).backward()
    averaging.finish()
    found = {"absent": [None if p.grad is None else p.grad.tolist() for p in lonely]}
    averaging.start()
    for p in lonely[::-1]:
        p.sum().backward()
    try:
        lonely[0].sum().backward()
    except MissingHook as error:
        found["late"] = str(error)
    averaging.finish()
    averaging.close()
    lonely[0].sum().backward()  # no hook is left
    return found


def process(run: Run) -> dict[str, Any]:
    return {"theirs": theirs(run), "whole": ours(run, BUCKET), "small": ours(run, 4), **absent(run)}


@pytest.fixture(scope="module")
def answers() -> list[dict[str, Any]]:
    return together(2, process)


@pytest.mark.parametrize(("kind", "buckets"), [("whole", 1), ("small", 6)])
def test_equals_torch_and_is_sent_in_the_backward_pass(answers, kind, buckets) -> None:
    for answer in answers:
        got, early = answer[kind]
        assert got == answer["theirs"]
        assert early == buckets


def test_gradients_that_some_processes_lack(answers) -> None:
    for answer in answers:
        assert answer["absent"] == [[0.5, 0.5], None, [1.5]]


def test_a_gradient_that_comes_after_it_was_sent_is_an_error(answers) -> None:
    for answer in answers:
        assert "use_reentrant=False" in answer["late"]


def test_alone_nothing_is_touched() -> None:
    model = net()
    averaging = Averaging(model.parameters(), World())
    averaging.start()
    lost(model, Run(), 0).backward()
    before = grads(model)
    averaging.finish()
    averaging.close()
    assert grads(model) == before
