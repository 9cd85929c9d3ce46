"""A dry run prints what a few steps took, and refuses what has no steps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from diptych.cli.trial import show_trial
from diptych.core import Run, Table, Texts, UsageError
from diptych.features.vectors import Vectors
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit
from diptych.train.step import Step


def test_the_measures_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    line, x = nn.Linear(1, 1), Vectors(torch.tensor([[0.0], [1.0]]), Texts(("a", "b")))
    step = Step(line, lambda row, g: {"x": row.item}, lambda batch: {"square": line(batch["x"]).square().mean()})
    show_trial(lambda: train_parameters(step, Table(x), Fit(0.1, 2, 500), Run()))
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("3 steps of 2 items on cpu: ")
    assert second.startswith("Extrapolated, and not run: 500 steps take ")
    assert third == "This is the first training: those that a system may have after it are not counted."


def test_what_trains_in_no_steps_is_refused() -> None:
    with pytest.raises(UsageError, match="Nothing is trained in steps here: leave dry_run out"):
        show_trial(lambda: None)
