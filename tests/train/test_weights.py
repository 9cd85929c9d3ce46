"""What a training changes: phases, averages, and what is loaded at the end."""

from __future__ import annotations

import json
from dataclasses import replace

import torch

from diptych.core import ParamGroup, Run
from diptych.train import checkpoint
from diptych.train.precision import Precision
from diptych.train.weights import Weights
from tests.train.toy import FIT, Toy

RUN = Run(seed=3, workers=0)


def weights(run: Run = RUN, fit=FIT, toy: Toy | None = None) -> Weights:
    return Weights(toy or Toy(run), fit, run, Precision(run))


def values(held: Weights) -> dict[str, torch.Tensor]:
    return {n: t.clone() for n, t in held.module.state_dict().items()}


def shifted(held: Weights, by: float) -> None:
    with torch.no_grad():
        for p in held.parameters.values():
            p.add_(by)


def test_a_phase_opens_its_groups_alone() -> None:
    toy = Toy(RUN)
    names = list(dict(toy.net.named_parameters()))
    a, b = ([n for n in names if n.startswith(tower)] for tower in "ab")
    toy.phases = ("first", "second")
    toy.groups = lambda: [  # type: ignore[method-assign]
        ParamGroup(tuple(a), phases=("first",)),
        ParamGroup(tuple(b), phases=("second",)),
        ParamGroup(("log_scale",)),
    ]
    held = weights(toy=toy)
    for phase, open_ones in (("first", [*a, "log_scale"]), ("second", [*b, "log_scale"])):
        held.open(phase)
        assert [n for n, p in held.parameters.items() if p.requires_grad] == [n for n in names if n in open_ones]
    assert len(held.of_phase("first")) == len(a), "the scale steps after the last phase that trains it"
    assert len(held.of_phase("second")) == len(b) + 1


def test_the_average_follows_is_lent_and_is_the_end() -> None:
    held = weights(fit=replace(FIT, ema=0.75))
    start = values(held)
    shifted(held, 1.0)
    held.follow()
    present = values(held)
    names = list(held.parameters)
    with held.averaged():
        assert not held.module.training
        for n in names:
            torch.testing.assert_close(held.parameters[n].detach(), start[n] + 0.25)
    assert held.module.training
    assert all(torch.equal(held.parameters[n], present[n]) for n in names)
    held.end()
    for n in names:
        torch.testing.assert_close(held.parameters[n].detach(), start[n] + 0.25)


def test_the_best_weights_come_back_at_the_end() -> None:
    held = weights(fit=replace(FIT, ema=None))
    held.keep_best()
    best = values(held)
    shifted(held, 1.0)
    held.end()
    assert all(torch.equal(t, best[n]) for n, t in values(held).items())


def test_a_checkpoint_brings_everything_back(tmp_path) -> None:
    run = replace(RUN, out=tmp_path)
    held = weights(run)
    for p in held.parameters.values():
        p.grad = torch.ones_like(p)
    held.optimizers["main"].step()
    held.follow()
    held.keep_best()
    held.save("step-1", {"place": 7})
    again = weights(replace(RUN, seed=4))
    tensors, state = checkpoint.read(tmp_path / "checkpoints" / "step-1")
    assert (state["place"], json.dumps(state["frozen"])) == (7, "{}")
    again.load(tensors, state)
    for first, second in ((held.ema, again.ema), (held.best, again.best), (values(held), values(again))):
        assert first.keys() == second.keys()
        assert all(torch.equal(first[n], second[n]) for n in first)
    moments = [[w.optimizers["main"].state[p]["exp_avg"] for p in w.of_phase("main")] for w in (held, again)]
    assert all(torch.equal(a, b) for a, b in zip(*moments, strict=True))
