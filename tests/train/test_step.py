"""The trainee of a module, a view and a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from diptych.core import ParamGroup, Run, Table, Texts
from diptych.features.vectors import Vectors
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit
from diptych.train.step import Step

ROWS: Table[Any] = Table(Vectors(torch.tensor([[0.0], [1.0]]), Texts(("a", "b"))))


def step(line: torch.nn.Linear, groups: list[ParamGroup] | None = None) -> Step:
    def loss(batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        return {"square": (line(batch["x"]) - 3).square().mean()}

    return Step(line, lambda row, g: {"x": row.item}, loss, groups)


def test_every_parameter_learns_alike_unless_groups_say_otherwise() -> None:
    fit = Fit(0.1, 2, 100, optimizer="adam", decay=0.0)
    torch.manual_seed(0)
    line = torch.nn.Linear(1, 1)
    start = line.weight.detach().clone()
    assert [g.names for g in step(line).groups()] == [("weight", "bias")]
    learnt = train_parameters(step(line, [ParamGroup(("bias",))]), ROWS, fit, Run())
    assert torch.equal(learnt["weight"], start)
    learnt = train_parameters(step(line), ROWS, fit, Run())
    torch.testing.assert_close(learnt["weight"], torch.zeros(1, 1), atol=0.2, rtol=0)
    torch.testing.assert_close(learnt["bias"], torch.full((1,), 3.0), atol=0.2, rtol=0)
