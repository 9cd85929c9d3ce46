"""A trial takes a few steps at full size and ends before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from diptych.core import Run, Table, Texts, UsageError
from diptych.features.vectors import Vectors
from diptych.train.loop import train
from diptych.train.parameters import checkpointed, train_parameters
from diptych.train.schedule import Fit
from diptych.train.step import Step
from diptych.train.trial import GIB, Trial, TrialEnded, trial

ROWS = Table(Vectors(torch.arange(8.0)[:, None], Texts(tuple("abcdefgh"))))


def step() -> Step:
    line = nn.Linear(1, 1)
    return Step(line, lambda row, g: {"x": row.item}, lambda batch: {"square": (line(batch["x"]) - 3).square().mean()})


def test_it_ends_after_its_steps_and_knows_the_planned_ones() -> None:
    taken = step()
    with pytest.raises(TrialEnded) as ended, trial(2):
        train(taken, ROWS, Fit(0.1, 4, epochs=50), Run())
    measured = ended.value.trial
    assert (measured.steps, measured.planned, measured.batch, measured.device) == (2, 100, 4, "cpu")
    assert measured.seconds > 0
    assert measured.memory > 2**20


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_training_that_is_shorter_ends_too(steps: int) -> None:
    with pytest.raises(TrialEnded) as ended, trial(3):
        train(step(), ROWS, Fit(0.1, 4, steps=steps), Run())
    assert (ended.value.trial.steps, ended.value.trial.planned) == (steps, steps)


def test_nothing_is_written_and_nothing_resumed(tmp_path: Path) -> None:
    with pytest.raises(TrialEnded), trial(1):
        train(step(), ROWS, Fit(0.1, 4, steps=9, save_every=1), Run(out=tmp_path / "run"), resume=True)
    with pytest.raises(TrialEnded), trial(1), checkpointed(tmp_path / "fit", save_every=1):
        train_parameters(step(), ROWS, Fit(0.1, 4, steps=9), Run())
    assert not list(tmp_path.rglob("*.safetensors"))


def test_accumulated_batches_count_as_items_of_a_step() -> None:
    with pytest.raises(TrialEnded) as ended, trial(1):
        train(step(), ROWS, Fit(0.1, 2, steps=9, accumulate=2), Run())
    assert ended.value.trial.batch == 4


def test_outside_the_block_trainings_are_whole() -> None:
    with pytest.raises(TrialEnded), trial(1):
        train(step(), ROWS, Fit(0.1, 4, steps=9), Run())
    assert train(step(), ROWS, Fit(0.1, 4, steps=9), Run()).position.step == 9


def test_it_takes_a_step_at_least() -> None:
    with pytest.raises(UsageError, match="at least one step, got 0"), trial(0):
        pass


def test_long_trainings_are_given_in_hours_and_short_ones_in_minutes_or_seconds() -> None:
    assert "10 steps take 1.7 seconds" in Trial(3, 10, 4, 0.169, GIB, "cpu").lines()[1]
    assert "100 steps take 5.0 minutes" in Trial(3, 100, 4, 3.0, GIB, "cpu").lines()[1]
    assert "36,000 steps take 30 hours" in Trial(3, 36_000, 4, 3.0, GIB, "cpu").lines()[1]
