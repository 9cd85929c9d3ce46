"""The tail of a method's fit, and the trainee that most of them share."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from diptych.core import ParamGroup, Run, Table, Texts, UsageError
from diptych.features.vectors import Vectors
from diptych.train.loop import train
from diptych.train.parameters import checkpointed, copies, resumable, train_parameters
from diptych.train.resume import OtherTraining
from diptych.train.schedule import Fit, Schedule
from diptych.train.step import Step

DATA = Table(Vectors(torch.tensor([[0.0], [1.0], [2.0]]), Texts(("a", "b", "c"))))
FIT = Fit(0.1, 3, steps=5, optimizer="sgd", betas=(0.0, 0.0), decay=0.0)


def line() -> torch.nn.Linear:
    module = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(module.weight)
    torch.nn.init.zeros_(module.bias)
    return module


def step(module: torch.nn.Linear, groups: list[ParamGroup] | None = None) -> Step:
    return Step(
        module, lambda row, g: {"x": row.item}, lambda b: {"square": (module(b["x"]) - 3).square().mean()}, groups
    )


def test_it_is_the_loop_without_files_whatever_the_grad_mode(tmp_path: Path) -> None:
    plain, quiet = line(), line()
    train(step(plain), DATA, FIT, Run(workers=0))
    with torch.no_grad():
        learnt = train_parameters(step(quiet), DATA, FIT, Run(out=tmp_path, workers=3))
    assert not list(tmp_path.iterdir())
    assert list(learnt) == ["weight", "bias"]
    assert all(torch.equal(learnt[n], p) for n, p in plain.named_parameters())
    assert float(learnt["weight"]) != 0


@pytest.mark.parametrize(("name", "kind"), [("radam", torch.optim.RAdam), ("adam", torch.optim.Adam)])
def test_each_optimiser_is_torchs(name: Any, kind: Any) -> None:
    fit = replace(FIT, optimizer=name, betas=(0.95, 0.999), eps=1e-8, steps=12, schedule=Schedule("constant"))
    learnt, module = train_parameters(step(line()), DATA, fit, Run()), line()
    by_hand = kind(module.parameters(), lr=0.1, betas=(0.95, 0.999), eps=1e-8)
    x = torch.tensor([[0.0], [1.0], [2.0]])
    for _ in range(12):
        by_hand.zero_grad()
        (module(x) - 3).square().mean().backward()
        by_hand.step()
    for n, p in module.named_parameters():
        torch.testing.assert_close(learnt[n], p.detach())


def test_what_comes_back_is_what_was_asked_for_and_a_copy() -> None:
    module = line()
    learnt = train_parameters(step(module), DATA, FIT, Run(), ("bias",))
    assert list(learnt) == ["bias"]
    assert not learnt["bias"].requires_grad
    with torch.no_grad():
        module.bias.add_(1.0)
    assert not torch.equal(learnt["bias"], module.bias)
    assert train_parameters(step(module), DATA, FIT, Run(), ()) == {}
    assert list(copies(torch.nn.BatchNorm1d(2))) == [
        "weight",
        "bias",
        "running_mean",
        "running_var",
        "num_batches_tracked",
    ]


def test_a_step_trains_all_or_what_its_groups_name() -> None:
    module = line()
    assert step(module).groups() == [ParamGroup(("weight", "bias"))]
    learnt = train_parameters(step(module, [ParamGroup(("bias",))]), DATA, FIT, Run())
    assert float(learnt["weight"]) == 0
    assert float(learnt["bias"]) > 1


def two_trainings(stop: int | None = None) -> list[float]:
    """A fit of two trainings, the second of which begins where the first ended; ``stop`` ends it in a step."""
    taken = [0]
    module = line()

    def loss(b):
        taken[0] += 1
        if taken[0] == stop:
            raise RuntimeError("killed")
        return {"square": (module(b["x"]) - 3).square().mean()}

    trainee = Step(module, lambda row, g: {"x": row.item}, loss)
    adam = replace(FIT, optimizer="adam", betas=(0.9, 0.98), batch=1, steps=6)
    for seed in (1, 2):
        learnt = train_parameters(trainee, DATA, adam, Run(seed=seed))
    return [float(learnt["weight"]), float(learnt["bias"]), taken[0]]


@pytest.mark.parametrize(("stop", "left"), [(1, 12), (4, 9), (6, 8), (7, 6), (9, 4), (12, 2)])
def test_a_stopped_fit_goes_on_to_the_same_bits(tmp_path: Path, stop: int, left: int) -> None:
    """Checkpoints follow every second step, and every epoch, of three."""
    *whole, steps = two_trainings()
    assert steps == 12
    with pytest.raises(RuntimeError, match="killed"), checkpointed(tmp_path, save_every=2):
        two_trainings(stop)
    with checkpointed(tmp_path, resume=True, save_every=2):
        *again, taken = two_trainings()
    assert again == whole
    assert taken == left, "steps before the latest checkpoint are not taken again"
    with checkpointed(tmp_path, resume=True):
        assert two_trainings() == [*whole, 0]
    with pytest.raises(UsageError, match="has a training already"), checkpointed(tmp_path):
        two_trainings()
    assert two_trainings() == [*whole, 12], "outside of the block nothing is written or read"


def test_a_place_that_means_nothing_is_refused(tmp_path: Path) -> None:
    for how in ({"save_every": 0}, {"workers": -1}):
        with pytest.raises(UsageError), checkpointed(tmp_path, **how):
            raise AssertionError


def test_a_fit_that_was_stopped_goes_on_beside_its_folder_and_leaves_nothing_there(tmp_path: Path) -> None:
    *whole, _ = two_trainings()
    folder = tmp_path / "fitted"
    with pytest.raises(RuntimeError, match="killed"), resumable(folder):
        two_trainings(9)
    assert (tmp_path / "fitted.training/training-1/checkpoints").is_dir()
    with (
        pytest.warns(UserWarning, match="A training that was stopped goes on: remove .*fitted.training to begin anew"),
        resumable(folder),
    ):
        *again, taken = two_trainings()
    assert (again, taken < 12) == (whole, True)
    assert not list(tmp_path.iterdir())
    folder.mkdir()
    (folder / "fitted.json").touch()
    for there in (None, folder):
        with resumable(there):
            assert two_trainings() == [*whole, 12]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_fit_that_may_not_go_on_says_first_that_it_does_not(tmp_path: Path) -> None:
    folder = tmp_path / "fitted"
    with pytest.raises(RuntimeError, match="killed"), resumable(folder, of={"backbone": "tiny"}):
        two_trainings(9)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with (
            pytest.raises(UsageError, match=r"fitted that was stopped has other settings .backbone tiny, now lite"),
            resumable(folder, of={"backbone": "lite"}),
        ):
            two_trainings()
    assert [str(one.message) for one in said] == []


@pytest.mark.parametrize("folder", [None, "fitted"])
def test_processes_that_load_change_no_bit(tmp_path: Path, folder: str | None) -> None:
    *whole, _ = two_trainings()
    with resumable(folder and tmp_path / folder, workers=2):
        assert two_trainings()[:2] == whole
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_keeps_checkpoints_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "fitted"
    folder.mkdir()
    with pytest.raises(RuntimeError, match="killed"), resumable(folder):
        two_trainings(9)
    assert (tmp_path / "fitted.training/training-1/checkpoints").is_dir()


@pytest.mark.filterwarnings("ignore:A training that was stopped")
def test_other_settings_after_a_stop_are_named_without_a_path_of_a_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "fitted"
    with pytest.raises(RuntimeError, match="killed"), resumable(folder):
        two_trainings(9)
    other = OtherTraining(folder, "steps 9, now 5")
    with (
        pytest.raises(
            UsageError, match=r"fitted that was stopped .*\(steps 9, now 5\).*fitted\.training to begin"
        ) as error,
        resumable(folder),
    ):
        raise other
    assert "checkpoints" not in str(error.value)


@pytest.mark.filterwarnings("ignore:A training that was stopped")
def test_a_training_that_began_with_something_else_is_not_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "fitted"
    with checkpointed(tmp_path / "fitted.training", of={"backbone": "lite"}):  # and killed then
        train_parameters(step(line()), DATA, FIT, Run(), ())
    with (
        pytest.raises(UsageError, match=r"was stopped .*\(backbone lite, now tiny\): .*remove .*fitted\.training"),
        resumable(folder, of={"backbone": "tiny"}),
    ):
        train_parameters(step(line()), DATA, FIT, Run())
    with resumable(folder, of={"backbone": "lite"}):
        again = train_parameters(step(line()), DATA, FIT, Run())
    assert torch.equal(again["weight"], train_parameters(step(line()), DATA, FIT, Run())["weight"])
