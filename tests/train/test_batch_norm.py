"""BatchNorm over processes trains what one process trains, and its statistics follow the average of the weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from diptych.core import MissingHook, Run, World
from diptych.train.batch_norm import statistics, synchronised
from diptych.train.loop import train
from diptych.train.schedule import Fit, Schedule
from diptych.train.step import Step
from tests.train.processes import together
from tests.train.toy import table

FIT = Fit(lr=0.05, batch=8, steps=12, schedule=Schedule(warmup=2), decay=0.0, ema=0.8, log_every=1)


def net() -> nn.Sequential:
    """A tower with both kinds of BatchNorm, the second one over places as well; fp64, so that rounding is nothing."""
    with Run(seed=5).seeded("net"):
        layers = [nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Unflatten(1, (2, 2, 2)), BatchNormAct2d(2), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(8, 1)).double()


def trained(run: Run) -> tuple[list[float], dict[str, Any]]:
    """Losses, and the averaged weights and statistics as plain data."""
    module = net()

    def loss(batch: Any) -> dict[str, torch.Tensor]:
        return {"square": (module(batch["x"])[:, 0] - batch["x"].sum(1)).square().mean()}

    step = Step(module, lambda row, g: {"x": torch.as_tensor(row.columns["x"])}, loss)
    history = train(step, table(), FIT, replace(run, seed=3, workers=0))
    state = {name: t.tolist() for name, t in module.state_dict().items()}
    return [r["main/square"] for r in history.records], state


@pytest.fixture(scope="module")
def both() -> list[Any]:
    return [trained(Run()), *together(2, trained)]


def test_two_processes_train_what_one_trains(both: list[Any]) -> None:
    (losses, state), *others = both
    for other_losses, other in others:
        assert other_losses == pytest.approx(losses, rel=1e-9)
        assert other.keys() == state.keys()
        for name, value in state.items():
            torch.testing.assert_close(torch.tensor(other[name]), torch.tensor(value), rtol=1e-7, atol=1e-9)


def test_the_average_has_statistics_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    module, seen = net(), []
    step = Step(module, lambda row, g: {"x": torch.as_tensor(row.columns["x"])}, lambda b: {"m": module(b["x"]).mean()})
    first = {n: t.clone() for n, t in statistics(module).items()}
    monkeypatch.setattr(step, "after", lambda what, clock: seen.append({n: t.clone() for n, t in first_of(module)}))
    train(step, table(), replace(FIT, steps=5), Run(seed=3, workers=0))
    expected = first
    for state in seen[:5]:
        expected = {n: 0.8 * expected[n] + 0.2 * state[n] for n in expected}
    for name, t in statistics(module).items():
        torch.testing.assert_close(t, expected[name])
        assert not torch.allclose(t, seen[4][name]), "those of the last weights are others"


def first_of(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return list(statistics(module).items())


def test_alone_and_afterwards_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = net()
    with synchronised(module, World()):
        assert "forward" not in module[1].__dict__
    monkeypatch.setattr("diptych.train.batch_norm.gather", lambda world: lambda x: x)
    x = torch.randn(6, 6, dtype=torch.float64)
    plain, wrapped = net(), net()
    with synchronised(wrapped, World(0, 2)):
        wrapped.train()
        a, b = plain.train()(x), wrapped(x)
        torch.testing.assert_close(a, b)
        torch.testing.assert_close(plain.eval()(x), wrapped.eval()(x))
    assert "forward" not in wrapped[1].__dict__
    for (name, p), (_, q) in zip(plain.state_dict().items(), wrapped.state_dict().items(), strict=True):
        torch.testing.assert_close(p, q, msg=name)


def test_a_batch_norm_that_computes_something_else_is_refused() -> None:
    class Other(nn.BatchNorm1d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + 1

    with (
        pytest.raises(MissingHook, match="0 is a Other, whose statistics"),
        synchronised(nn.Sequential(Other(2)), World(0, 2)),
    ):
        raise AssertionError
