"""One step: the mean over batches, clipping, the norm that is told, and losses that are not finite."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from diptych.core import Clock, Diverged, ParamGroup, Run
from diptych.train.groups import training
from diptych.train.precision import Precision
from diptych.train.schedule import Fit
from diptych.train.steps import Steps
from diptych.train.weights import Weights
from tests.support.pretended_gpu import PretendedGPU
from tests.train.toy import Toy

RUN = Run(seed=3, workers=0)
SGD = Fit(0.5, 4, steps=1, optimizer="sgd", betas=(0.0, 0.9), decay=0.0)


def batch(number: int) -> dict[str, Any]:
    g = torch.Generator().manual_seed(number)
    return {v: torch.randn(4, 6, generator=g) for v in ("a", "b")}


def clock() -> Clock:
    return Clock(5, 10, 0, torch.Generator().manual_seed(5))


@contextlib.contextmanager
def opened(toy: Toy, fit: Fit) -> Iterator[tuple[Steps, Weights]]:
    weights = Weights(toy, fit, RUN, Precision(RUN))
    with (
        training(weights.module, set(weights.names)),
        contextlib.closing(Steps(toy, weights, fit, RUN, Precision(RUN))) as steps,
    ):
        yield steps, weights


@pytest.mark.parametrize("clip", [None, 0.01])
def test_a_step_by_hand(clip) -> None:
    toy, reference = Toy(RUN, dropout=0.0), Toy(RUN, dropout=0.0)
    batches = [batch(0), batch(1)]
    with opened(toy, replace(SGD, clip=clip)) as (steps, _):
        values = steps.take(batches, clock(), 0.5)
    same = clock()  # the draws of the two batches follow each other
    losses = [reference.losses(b, "main", same)["pair"] for b in batches]
    ((losses[0] + losses[1]) / 2).backward()
    parameters = list(reference.net.parameters())
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters])
    factor = 1.0 if clip is None else clip / (float(norm) + 1e-6)
    assert values["main/pair"] == pytest.approx((losses[0] + losses[1]).item() / 2, rel=1e-6)
    assert values["gradient_norm/main"] == pytest.approx(float(norm), rel=1e-6)
    for p, q in zip(toy.net.parameters(), parameters, strict=True):
        torch.testing.assert_close(p.detach(), q.detach() - 0.5 * factor * q.grad, rtol=1e-5, atol=1e-7)


def test_phases_take_turns_and_each_changes_its_own_parameters_by_its_own_loss() -> None:
    toy, reference = Toy(RUN, dropout=0.0), Toy(RUN, dropout=0.0)
    names = [n for n, _ in toy.net.named_parameters()]
    toy.phases = ("a", "b")
    toy.groups = lambda: [ParamGroup(tuple(n for n in names if n.startswith(f"{p}.")), phases=(p,)) for p in "ab"]  # type: ignore[method-assign]
    with opened(toy, SGD) as (steps, _):
        steps.take([batch(0)], clock(), 0.5)
    same = clock()  # the draws of the two phases follow each other
    for phase in toy.phases:
        own = list(reference.net[phase].parameters())  # type: ignore[index]
        slopes = torch.autograd.grad(reference.losses(batch(0), phase, same)["pair"], own)
        with torch.no_grad():
            for p, slope in zip(own, slopes, strict=True):
                p -= 0.5 * slope
    for p, q in zip(toy.net.parameters(), reference.net.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-7)


def test_dropout_follows_the_step_and_not_what_was_drawn_before() -> None:
    ends = []
    for seed in (1, 2):
        toy = Toy(RUN)
        torch.manual_seed(seed)
        with opened(toy, SGD) as (steps, _):
            steps.take([batch(0)], clock(), 0.5)
        ends.append([p.tolist() for p in toy.net.parameters()])
    assert ends[0] == ends[1]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_under_a_finite_loss_changes_nothing(value: float) -> None:
    toy = Toy(RUN)
    before = [p.tolist() for p in toy.net.parameters()]
    toy.net["a"][0].weight.register_hook(lambda grad: grad * value)  # type: ignore[index]
    with opened(toy, SGD) as (steps, _), pytest.raises(Diverged, match="The gradients are not finite in step 5"):
        steps.take([batch(0)], clock(), 0.5)
    assert [p.tolist() for p in toy.net.parameters()] == before


def test_an_overflow_in_fp16_is_left_to_the_scaler_until_its_scale_is_below_one() -> None:
    for scale, diverges in ((1024.0, False), (0.5, True)):
        toy, precision = Toy(RUN), Precision(RUN)
        precision.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        weights = Weights(toy, SGD, RUN, precision)
        before = [p.tolist() for p in toy.net.parameters()]
        toy.net["a"][0].weight.register_hook(lambda grad: grad * float("inf"))  # type: ignore[index]
        with (
            training(weights.module, set(weights.names)),
            contextlib.closing(Steps(toy, weights, SGD, RUN, precision)) as steps,
            pytest.raises(Diverged, match="gradients") if diverges else contextlib.nullcontext(),
        ):
            steps.take([batch(0)], clock(), 0.5)
        assert [p.tolist() for p in toy.net.parameters()] == before
        assert precision.scaler.get_scale() == (0.5 if diverges else scale / 2)


class Reads(TorchFunctionMode):
    """Notes every value that the host reads from a tensor on the GPU."""

    NAMES = ("item", "tolist", "cpu", "__bool__", "__float__", "__int__", "__index__", "__contains__", "numpy")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        if name in self.NAMES and args[0].device.type == "cuda":
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_step_that_is_not_logged_reads_nothing_from_the_device(optimizer: str) -> None:
    run = replace(RUN, device="cuda")
    with PretendedGPU():
        toy = Toy(run, dropout=0.0)
        weights = Weights(toy, replace(SGD, optimizer=optimizer, clip=0.1), run, Precision(run))
        given = {v: x.to("cuda") for v, x in batch(0).items()}
        with (
            training(weights.module, set(weights.names)),
            contextlib.closing(Steps(toy, weights, weights.fit, run, weights.precision)) as steps,
        ):
            with Reads() as reads:
                assert steps.take([given, given], clock(), 0.5, read=False) == {}
            assert reads.seen == []
            with reads:
                assert steps.take([given, given], clock(), 0.5)["main/pair"] > 0
            assert reads.seen == ["tolist"]
            assert steps.sound()


def test_a_bad_step_that_is_not_read_moves_nothing_by_its_gradient_nor_do_those_after_it(monkeypatch) -> None:
    monkeypatch.setattr(Steps, "reads_all", False)
    toy = Toy(RUN, dropout=0.0)
    before = [p.tolist() for p in toy.net.parameters()]
    with opened(toy, SGD) as (steps, _):
        bad = {v: x * float("nan") for v, x in batch(0).items()}
        assert steps.take([bad], clock(), 0.5, read=False) == {}
        assert not steps.sound()
        steps.take([batch(1)], clock(), 0.5, read=False)
        with pytest.raises(Diverged, match="in a step before 5"):
            steps.take([batch(1)], clock(), 0.5)
        assert [p.tolist() for p in toy.net.parameters()] == before
        steps.forget()
        steps.take([batch(1)], clock(), 0.5, read=False)
        assert steps.sound()
    assert [p.tolist() for p in toy.net.parameters()] != before


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    toy = Toy(RUN)
    before = [p.tolist() for p in toy.net.parameters()]
    with opened(toy, SGD) as (steps, _):
        bad = {v: x * float("nan") for v, x in batch(0).items()}
        with pytest.raises(Diverged, match="not finite in step 5"):
            steps.take([bad], clock(), 0.5)
    assert [p.tolist() for p in toy.net.parameters()] == before
